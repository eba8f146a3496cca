import { useCallback, useEffect, useState } from "react";
import type { ReactNode } from "react";
import { Tab, TabList, TabPanel, Tabs } from "react-aria-components";
import { Banner, WorkStrip } from "./frame/banner";
import { Header } from "./frame/header";
import { useKeys } from "./frame/keys";
import { useSaying } from "./frame/saying";
import { Shortcuts } from "./frame/shortcuts";
import { Stage, useShown } from "./frame/stage";
import { TakesList } from "./frame/takes-list";
import { Change } from "./panels/change";
import { Compare } from "./panels/compare";
import { Keep } from "./panels/keep";
import { Notices } from "./panels/keep/notices";
import { Make } from "./panels/make";
import { Understand } from "./panels/understand";
import { ask } from "./server/connection";
import { player } from "./sound/the-player";
import { TrackList } from "./sound/track-list";
import { useView } from "./takes/view";
import type { PanelName } from "./takes/view";

const PANELS: readonly { id: PanelName; name: string; panel: () => ReactNode }[] = [
  { id: "make", name: "Make", panel: Make },
  { id: "change", name: "Change", panel: Change },
  { id: "keep", name: "Keep", panel: Keep },
  { id: "understand", name: "Understand", panel: Understand },
  { id: "compare", name: "Compare", panel: Compare },
];

export function App() {
  const [shortcuts, setShortcuts] = useState(false);
  const showShortcuts = useCallback(() => setShortcuts(true), []);
  useKeys(showShortcuts);
  useEffect(() => {
    const asked = () => void ask();
    asked();
    window.addEventListener("online", asked);
    return () => window.removeEventListener("online", asked);
  }, []);
  return (
    <div className="app">
      <Header onShortcuts={showShortcuts} />
      <Banner />
      <Notices />
      <WorkStrip />
      <main className="main">
        <Panels />
        <Stage />
        <Side />
      </main>
      <Shortcuts open={shortcuts} onOpen={setShortcuts} />
      <Saying />
    </div>
  );
}

function Panels() {
  const { panel, set } = useView();
  return (
    <Tabs className="panels" selectedKey={panel} onSelectionChange={(key) => set({ panel: PANELS.find(({ id }) => id === key)?.id ?? "make" })}>
      <TabList className="tab-list" aria-label="What to do">
        {PANELS.map(({ id, name }) => <Tab key={id} id={id} className="tab">{name}</Tab>)}
      </TabList>
      {PANELS.map(({ id, panel: Panel }) => <TabPanel key={id} id={id} className="tab-panel"><Panel /></TabPanel>)}
    </Tabs>
  );
}

function Side() {
  const piece = useShown();
  return (
    <aside className="side" aria-label="Tracks and takes">
      {piece.tracks.length > 0 ? <section className="tracks" aria-labelledby="tracks-title"><h2 id="tracks-title">Tracks</h2><TrackList player={player} piece={piece} /></section> : null}
      <TakesList />
    </aside>
  );
}

function Saying() {
  const text = useSaying(({ text }) => text);
  return <p className="only-heard" role="status" aria-live="polite">{text}</p>;
}
