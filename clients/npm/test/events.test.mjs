import assert from "node:assert/strict";
import { test } from "node:test";
import { serverSentEvents } from "../dist/events.js";

async function read(parts, onCancel = () => undefined) {
  const left = [...parts];
  const body = new ReadableStream({
    pull: (controller) => (left.length ? controller.enqueue(left.shift()) : controller.close()),
    cancel: onCancel,
  });
  const found = [];
  for await (const event of serverSentEvents(body)) found.push(event);
  return found;
}

const bytes = (text) => new TextEncoder().encode(text);

test("events are the same wherever the network cuts them, whatever ends their lines", async () => {
  const expected = [
    { event: "note", data: '{"name":"Für Elise ♫"}' },
    { event: "message", data: "one\n two" },
  ];
  for (const end of ["\n", "\r\n", "\r"]) {
    const lines = [": keep-alive", "", "event: note", 'data:{"name":"Für Elise ♫"}', "id: 3", "", "data: one", "data:  two", ""];
    const all = bytes([...lines, "event: nothing", "", "data: cut", ""].join(end));
    assert.deepEqual(await read([all]), expected);
    assert.deepEqual(await read([...all].map((byte) => Uint8Array.of(byte))), expected);
    for (let at = 1; at < all.length; at++) {
      assert.deepEqual(await read([all.subarray(0, at), all.subarray(at)]), expected, `${JSON.stringify(end)}, cut at ${at}`);
    }
  }
});

test("a carriage return may be the last byte", async () => {
  assert.deepEqual(await read([bytes("data: one\r\r")]), [{ event: "message", data: "one" }]);
});

test("who leaves the loop cancels the body", async () => {
  let cancelled = false;
  const body = new ReadableStream({
    pull: (controller) => controller.enqueue(bytes("data: more\n\n")),
    cancel: () => void (cancelled = true),
  });
  for await (const event of serverSentEvents(body)) {
    assert.equal(event.data, "more");
    break;
  }
  assert.ok(cancelled);
});
