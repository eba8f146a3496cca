/** For the first visit: what to do, in two lines. */
export function Welcome() {
  return (
    <div className="welcome">
      <p className="welcome-line">Press <b>Generate</b>, and listen.</p>
      <p>Then drag over a few bars to have them composed anew.</p>
      <p>Or drop a MIDI file of yours here.</p>
    </div>
  );
}
