import { useEffect, useState } from "react";

/** What `read` gives, drawn anew at every frame in which it differs, while `active`. */
export function useFrames<T extends string | number>(read: () => T, active: boolean): T {
  const [value, setValue] = useState(read);
  useEffect(() => {
    if (!active) return;
    let frame = 0;
    const look = () => {
      setValue(read());
      frame = requestAnimationFrame(look);
    };
    frame = requestAnimationFrame(look);
    return () => cancelAnimationFrame(frame);
  }, [read, active]);
  return active ? value : read();
}
