import { KeyRound, WifiOff } from "lucide-react";
import { useState } from "react";
import { Button, Form, Input, Label, TextField } from "react-aria-components";
import { ask, unlock, useServer } from "../server/connection";
import { useWork } from "../server/work";
import "./banner.css";

/** What stands between the user and the server. */
export function Banner() {
  const state = useServer(({ state }) => state);
  if (state === "away") return <Away />;
  if (state === "locked") return <Locked />;
  return null;
}

function Away() {
  return (
    <div className="banner" role="status">
      <WifiOff aria-hidden size={18} />
      <p>The server is away. Your takes are safe; trying again…</p>
      <Button className="quiet-button" onPress={() => void ask()}>Try now</Button>
    </div>
  );
}

function Locked() {
  const refused = useServer(({ tokenRefused }) => tokenRefused);
  const [token, setToken] = useState("");
  return (
    <Form className="banner" onSubmit={(event) => { event.preventDefault(); void unlock(token); }}>
      <KeyRound aria-hidden size={18} />
      <TextField className="banner-token" type="password" value={token} onChange={setToken} isInvalid={refused} autoComplete="off">
        <Label>{refused ? "This token is not the server's. Another one:" : "This server asks for a token:"}</Label>
        <Input />
      </TextField>
      <Button type="submit" className="quiet-button" isDisabled={token.trim() === ""}>Open</Button>
    </Form>
  );
}

/** Long work of the panels, with its end in sight or not. */
export function WorkStrip() {
  const jobs = useWork(({ jobs }) => jobs);
  const [job] = jobs;
  if (job === undefined) return null;
  return (
    <div className="work-strip" role="status">
      <span className="work-bar" aria-hidden />
      <span>{job.label}{job.waiting ? ": waiting for the server" : ""}…{jobs.length > 1 ? ` (and ${jobs.length - 1} more)` : ""}</span>
      <Button className="quiet-button" onPress={() => job.stop()}>Stop</Button>
    </div>
  );
}
