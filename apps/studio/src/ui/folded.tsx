import { ChevronRight } from "lucide-react";
import type { ReactNode } from "react";
import { Button, Disclosure, DisclosurePanel, Heading } from "react-aria-components";
import "./folded.css";

/** What one seldom needs, folded away. */
export function Folded({ title, said, children }: {
  title: string;
  /** What holds while it is folded. */
  said?: string;
  children: ReactNode;
}) {
  return (
    <Disclosure className="folded">
      <Heading level={3}>
        <Button slot="trigger" className="folded-button">
          <ChevronRight aria-hidden size={16} className="folded-arrow" />
          {title}
          {said === undefined ? null : <span className="folded-said">{said}</span>}
        </Button>
      </Heading>
      <DisclosurePanel className="folded-panel">{children}</DisclosurePanel>
    </Disclosure>
  );
}
