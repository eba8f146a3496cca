export function App() {
  return <h1>MIDI AI Factory</h1>;
}
