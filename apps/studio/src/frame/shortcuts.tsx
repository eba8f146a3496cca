import { X } from "lucide-react";
import { Button, Dialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import "./shortcuts.css";

const SHORTCUTS: readonly (readonly [keys: readonly string[], what: string])[] = [
  [["Ctrl", "Enter"], "Generate"],
  [["Space"], "Play, pause"],
  [["Home"], "To the beginning"],
  [["Ctrl", "Z"], "Undo"],
  [["Ctrl", "Shift", "Z"], "Redo"],
  [["1"], "Select bars and notes"],
  [["2"], "Draw notes"],
  [["3"], "Erase notes"],
  [["Esc"], "Let go of the selection"],
  [["?"], "This list"],
];

export function Shortcuts({ open, onOpen }: { open: boolean; onOpen: (open: boolean) => void }) {
  return (
    <ModalOverlay className="overlay" isOpen={open} onOpenChange={onOpen} isDismissable>
      <Modal className="modal">
        <Dialog className="dialog">
          <div className="dialog-head">
            <Heading slot="title">Keyboard</Heading>
            <Button slot="close" className="icon-button" aria-label="Close"><X aria-hidden size={20} /></Button>
          </div>
          <dl className="shortcuts">
            {SHORTCUTS.map(([keys, what]) => (
              <div key={what}><dt>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt><dd>{what}</dd></div>
            ))}
          </dl>
          <p className="hint">In the roll, arrow keys go from note to note. With Tab you reach everything else.</p>
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}
