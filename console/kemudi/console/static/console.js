// Makes pages that work without it nicer: live filter, dialogs, live rows. No value is ever built into markup here.
const FRAGMENT = { "X-Kemudi-Fragment": "1" };
const rules = window.trustedTypes?.createPolicy("kemudi", {
  createHTML: (text) => text,
  createScriptURL: (url) => {
    if (!url.startsWith("/static/live.js")) throw new TypeError(url);
    return url;
  },
});

/** What the server rendered, as nodes. The only place where text becomes markup. */
function parsed(text) {
  return new DOMParser().parseFromString(rules ? rules.createHTML(text) : text, "text/html");
}

async function fetched(url, options = {}) {
  const answer = await fetch(url, { ...options, headers: { ...FRAGMENT, Accept: "text/html", ...options.headers } });
  if (answer.redirected && new URL(answer.url).pathname === "/sign-in") location.reload();
  return answer;
}

/* Live filter ------------------------------------------------------------------------------------------------- */
function replaceList(text) {
  const list = parsed(text).getElementById("list");
  const old = document.getElementById("list");
  if (list && old) old.replaceWith(document.adoptNode(list));
}

function liveFilter(form) {
  let waiting = 0;
  let newest = 0;
  const run = async () => {
    const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    const url = `${location.pathname}?${asked}`;
    const mine = ++newest;
    const dim = setTimeout(() => document.getElementById("list")?.setAttribute("aria-busy", "true"), 300);
    try {
      const answer = await fetched(url);
      if (mine === newest && answer.ok) {
        replaceList(await answer.text());
        history.replaceState(null, "", url);
      }
    } finally {
      clearTimeout(dim);
    }
  };
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(run, 120); });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(waiting); run(); });
}

/* Dialogs ----------------------------------------------------------------------------------------------------- */
const dialog = document.getElementById("dialog");
let opener = null;
let openerRow = ""; // by which it is found again when live rows replaced it

function show(text) {
  const form = parsed(text).querySelector("[data-change]");
  if (!form) return false;
  dialog.replaceChildren(document.adoptNode(form));
  if (!dialog.open) dialog.showModal();
  const wrong = dialog.querySelector("[aria-invalid=true]");
  (wrong ?? dialog.querySelector("[autofocus]"))?.focus();
  return true;
}

async function openDialog(url, from) {
  if (!dialog.open) { // else a link inside it leads on, and the focus goes back to where it began
    opener = from;
    openerRow = from?.closest("tr[id]")?.id ?? "";
  }
  const answer = await fetched(url);
  if (!show(await answer.text())) location.assign(url);
}

async function send(form, button) {
  const target = form.getAttribute("action"); // a button of that name hides the property
  const body = new URLSearchParams(new FormData(form, button));
  for (const each of form.querySelectorAll("button")) each.disabled = true;
  const answer = await fetched(target, { method: "POST", body });
  if (answer.redirected) {
    dialog.close();
    stalePage = true;
    await pump();
    // What was proposed is not in the row yet; its own page tells what comes next.
    if (!openerRow || answer.url.includes("/changes/")) location.assign(answer.url);
    return;
  }
  if (!show(await answer.text())) location.assign(target);
}

let previewTimer = 0;
async function preview(form) {
  const body = new URLSearchParams(new FormData(form));
  body.set("action", "preview");
  const answer = await fetched(form.getAttribute("action"), { method: "POST", body });
  const now = parsed(await answer.text()).querySelector("[data-change]");
  if (!now || !form.isConnected || String(new URLSearchParams(new FormData(form))) !== withoutAction(body)) return;
  for (const part of form.querySelectorAll("[data-part]")) {
    const fresh = now.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!fresh) continue;
    const at = focusable(part).indexOf(document.activeElement);
    part.replaceWith(document.adoptNode(fresh));
    if (at >= 0) focusable(fresh)[at]?.focus();
  }
  const secret = form.querySelector("input[type=password]");
  const kept = form.elements.namedItem("kept");
  if (secret) secret.required = !kept;
  if (secret && kept) secret.value = ""; // it is sealed now: what was previewed is what is saved
}

function focusable(part) {
  return [...part.querySelectorAll("a, button, summary, [tabindex]")];
}

function withoutAction(body) {
  const rest = new URLSearchParams(body);
  rest.delete("action");
  return String(rest);
}

dialog?.addEventListener("input", (event) => {
  const form = event.target.closest("[data-change]");
  if (!form) return;
  if (event.target.name !== "reason") {
    // What was previewed is no longer what would be saved.
    for (const each of form.querySelectorAll("[data-save]")) each.disabled = true;
  }
  clearTimeout(previewTimer);
  if (event.target.type !== "password") previewTimer = setTimeout(() => preview(form), 250);
});
dialog?.addEventListener("close", () => {
  clearTimeout(previewTimer);
  const back = opener?.isConnected ? opener : document.querySelector(openerRow ? `#${CSS.escape(openerRow)} :is(a.edit, button.switch)` : "main h1 a");
  back?.focus();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-dialog]");
  if (link && dialog && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    openDialog(link.href, link);
  }
  const cancel = event.target.closest("[data-cancel]");
  if (cancel && dialog?.contains(cancel)) { event.preventDefault(); dialog.close(); }
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("form[data-dialog]") && dialog) {
    event.preventDefault();
    openDialog(`${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`, event.submitter);
  } else if (dialog?.contains(form)) {
    event.preventDefault();
    send(form, event.submitter);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, textarea, select") || dialog?.open) return;
  const search = document.querySelector("[data-slash]");
  if (search) { event.preventDefault(); search.focus(); }
});

/* Live rows: what is stale is noted, one request is under way at a time, and the newest state wins ---------------- */
const staleRows = new Set();
let staleFrame = false;
let stalePage = false;
let pumping = false;
let failed = false;
const FRAME = ["#banners", "#live", "#top > a.badge", "#top > .muted", ".side ul", ".side .foot"];

async function refreshRow(key) {
  const old = document.getElementById(`row-${key}`);
  if (!old) return;
  const answer = await fetched(`/e/${document.body.dataset.env}/settings/${encodeURIComponent(key)}/row`);
  if (answer.status >= 500) throw new Error(answer.statusText); // the row is still there, whatever became of the server
  const row = answer.ok ? parsed(await answer.text()).getElementById(`row-${key}`) : null;
  if (!row) { old.remove(); return; }
  const now = document.adoptNode(row);
  const { find } = focused(old);
  now.classList.add("changed");
  old.replaceWith(now);
  if (find) document.querySelector(find)?.focus();
}

/** What has the focus, so that its successor in new markup can be found; nothing while somebody types. */
function focused(within) {
  const it = document.activeElement;
  if (!it || !within.contains(it)) return { keep: false, find: null };
  if (it.matches("input, textarea, select")) return { keep: true, find: null };
  const row = it.closest("tr[id]");
  const inner = it.matches("button.switch") ? "button.switch" : `a[href="${CSS.escape(it.getAttribute("href") ?? "")}"]`;
  return { keep: false, find: `${row ? `#${CSS.escape(row.id)} ` : ""}${inner}` };
}

function notice(name) {
  const said = document.querySelector(name);
  if (said) said.hidden = false;
}

async function refreshParts(names) {
  // What a form brought here has no address of its own to be asked for again.
  const answer = await fetched(document.body.dataset.here ?? location.href, { headers: { "X-Kemudi-Fragment": "" } });
  if (answer.status === 404) notice("[data-gone]");
  if (answer.status >= 500) throw new Error(answer.statusText);
  if (!answer.ok) return;
  const page = parsed(await answer.text());
  for (const name of names) {
    const now = page.querySelector(name);
    const old = document.querySelector(name);
    if (!now || !old) continue;
    if (old.dataset.tip && old.dataset.tip !== now.dataset.tip) {
      notice("[data-moved]"); // what is approved must be what was read: the new one is looked at on purpose
      continue;
    }
    const { keep, find } = focused(old);
    if (keep) continue;
    old.replaceWith(document.adoptNode(now));
    if (find) document.querySelector(find)?.focus();
  }
  showMenu();
}

/** On a narrow screen the menu is one line that scrolls: this page's entry is to be seen in it. */
function showMenu() {
  const here = document.querySelector(".side [aria-current]");
  const menu = here?.closest("ul");
  if (menu) menu.scrollLeft = here.offsetLeft - (menu.clientWidth - here.offsetWidth) / 2;
}

async function pump() {
  if (pumping) return;
  pumping = true;
  try {
    while (stalePage || staleFrame || staleRows.size) {
      if (stalePage || staleRows.size > 20) {
        stalePage = staleFrame = false;
        staleRows.clear();
        await refreshParts([...FRAME, "#list"]);
      } else if (staleRows.size) {
        const key = staleRows.values().next().value;
        staleRows.delete(key);
        await refreshRow(key);
      } else {
        staleFrame = false;
        await refreshParts(FRAME);
      }
    }
    if (failed && !lost) pulse(true);
    failed = false;
  } catch {
    // What could not be asked is not known: the whole page is asked for again, until there is an answer.
    if (!failed) pulse(false);
    failed = stalePage = true;
    setTimeout(pump, 2000);
  } finally {
    pumping = false;
  }
}

function pulse(live) {
  const pill = document.getElementById("pulse");
  if (!pill) return;
  document.body.toggleAttribute("data-lost", !live); // what is on the page may be old: it is dimmed
  const said = live ? document.body.dataset.live : document.body.dataset.reconnecting;
  pill.hidden = false;
  if (pill.textContent !== said) pill.textContent = said;
  pill.className = `badge ${live ? "good" : "warn"}`;
}

let lost = false;
function heard(message) {
  if (message.kind === "lost") {
    lost = true;
    pulse(false);
    return;
  }
  if (message.kind === "open") {
    pulse(true);
    // What happened while the stream was away, or before it opened, is not known.
    stalePage ||= lost || message.serial > Number(document.body.dataset.serial);
    lost = false;
  } else if (message.kind === "row") {
    if (message.env === document.body.dataset.env) staleRows.add(message.key);
  } else if (message.kind === "frame") {
    staleFrame = true;
  } else {
    stalePage = true;
  }
  pump();
}

function listen() {
  if (!document.body.dataset.worker) return;
  const url = document.body.dataset.worker;
  if (window.SharedWorker) {
    const worker = new SharedWorker(rules ? rules.createScriptURL(url) : url, { name: "kemudi" });
    worker.port.addEventListener("message", (event) => heard(event.data));
    worker.port.start();
    addEventListener("pagehide", () => worker.port.postMessage("bye"));
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
    return;
  }
  let source = null;
  const open = () => {
    source = new EventSource("/api/v1/events");
    source.addEventListener("hello", (event) => heard({ kind: "open", ...JSON.parse(event.data) }));
    source.addEventListener("row", (event) => heard({ kind: "row", ...JSON.parse(event.data) }));
    source.addEventListener("frame", () => heard({ kind: "frame" }));
    source.addEventListener("refresh", () => heard({ kind: "refresh" }));
    source.addEventListener("error", () => heard({ kind: "lost" }));
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); source = null; lost = true; } else if (!source) open();
  });
  if (!document.hidden) open();
}

for (const form of document.querySelectorAll("form[data-filter]")) liveFilter(form);
showMenu();
listen();
