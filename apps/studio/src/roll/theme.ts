/** The page's colours, resolved so that a canvas takes them. */
export interface Theme {
  readonly dark: boolean;
  readonly ink: string;
  readonly inkFaint: string;
  readonly paper: string;
  readonly raised: string;
  readonly line: string;
  readonly accent: string;
  readonly accentInk: string;
  readonly danger: string;
  readonly font: string;
}

/** `probe` carries each custom property as one of its CSS colours (roll.css): computed styles resolve those, but not the properties themselves. */
export function readTheme(probe: Element): Theme {
  const style = getComputedStyle(probe);
  return {
    dark: isDark(style.backgroundColor),
    ink: style.color,
    inkFaint: style.caretColor,
    paper: style.backgroundColor,
    raised: style.columnRuleColor,
    line: style.borderTopColor,
    accent: style.outlineColor,
    accentInk: style.textDecorationColor,
    danger: style.borderBottomColor,
    font: style.fontFamily,
  };
}

/** By what the colour looks like, in whichever notation it comes. */
function isDark(colour: string): boolean {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  if (!context) return false;
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red = 255, green = 255, blue = 255] = context.getImageData(0, 0, 1, 1).data;
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 128;
}

/** Calls when the page's theme may have changed; gives back how to end that. */
export function onThemeChange(changed: () => void): () => void {
  const query = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(changed);
  query.addEventListener("change", changed);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "class", "style"] });
  return () => {
    query.removeEventListener("change", changed);
    observer.disconnect();
  };
}

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
