let loaded: Promise<ArrayBuffer> | null = null;
const watchers = new Set<(share: number) => void>();

/** The instruments' sounds, fetched once for the page. After a failure the next call tries again. */
export function soundFont(onProgress?: (share: number) => void): Promise<ArrayBuffer> {
  if (onProgress) watchers.add(onProgress);
  loaded ??= fetched().catch((error: unknown) => {
    loaded = null;
    throw error;
  });
  return loaded.finally(() => {
    if (onProgress) watchers.delete(onProgress);
  });
}

async function fetched(): Promise<ArrayBuffer> {
  const response = await fetch(new URL("soundfont.sf2", document.baseURI));
  if (!response.ok || !response.body) throw new Error(`the server answered ${String(response.status)} for soundfont.sf2`);
  const expected = Number(response.headers.get("content-length") ?? 0);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let received = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
    received += part.value.length;
    const share = expected > 0 ? Math.min(1, received / expected) : 0;
    for (const watcher of watchers) watcher(share);
  }
  return new Blob(chunks).arrayBuffer();
}
