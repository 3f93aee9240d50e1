// One event stream for all tabs of this browser: more than six streams would block every tab over HTTP/1.1.
const tabs = new Set();
let source = null;
let serial = 0; // of the newest state that this stream has told of

function tell(message) {
  for (const tab of tabs) tab.postMessage(message);
}

function heard(message) {
  serial = message.serial;
  tell(message);
}

function open() {
  source = new EventSource("/api/v1/events");
  source.addEventListener("hello", (event) => {
    serial = JSON.parse(event.data).serial;
    tell({ kind: "open", serial });
  });
  source.addEventListener("row", (event) => heard({ kind: "row", ...JSON.parse(event.data) }));
  source.addEventListener("frame", (event) => heard({ kind: "frame", ...JSON.parse(event.data) }));
  source.addEventListener("refresh", () => tell({ kind: "refresh" }));
  source.addEventListener("error", () => {
    tell({ kind: "lost" });
    // The browser gives up after an answer that is no stream, as of a proxy whose server restarts.
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(() => { if (tabs.size && !source) open(); }, 3000);
    }
  });
}

self.addEventListener("connect", (event) => {
  const tab = event.ports[0];
  tabs.add(tab);
  tab.addEventListener("message", (said) => {
    if (said.data === "bye") tabs.delete(tab);
    if (!tabs.size && source) { source.close(); source = null; }
  });
  tab.start();
  if (!source) open();
  else if (source.readyState === EventSource.OPEN) tab.postMessage({ kind: "open", serial });
});
