// A slot for photos: uploads chosen or dropped files and folders, with their paths in the folders.
// value: {said, names, total, left_out}
const one = (selector) => element.querySelector(selector);
const AT_ONCE = 100, BYTES_AT_ONCE = 64e6;  // limits per request; gradio takes up to a thousand files
const accepted = one(".files").accept.split(",");
let names = [];
let sending = null;  // the current request
let stopped = false;

// --- chosen or dropped files as [{file, name}]; names are paths such as photos/good/1.png

const chosen = (input) => [...input.files].map((file) => ({file, name: file.webkitRelativePath || file.name}));

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({file, name: file.name}));
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{file, name: entry.fullPath.replace(/^\//, "")}];
  }
  const reader = entry.createReader(), found = [];
  for (;;) {  // the browser returns a hundred entries at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(walk))).flat();
}

const hidden = (name) => name.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");
const welcome = (name) => name.endsWith("split_csv/1cls.csv")
  || accepted.some((ending) => name.toLowerCase().endsWith(ending));

// --- upload

async function send(given) {
  const seen = given.filter(({name}) => !hidden(name));
  const files = seen.filter(({name}) => welcome(name));
  const left_out = seen.filter(({name}) => !welcome(name)).map(({name}) => name);
  problem("");
  if (!files.length) { problem(seen.length ? "There are no photos in it." : "It is empty."); return; }
  stopped = false;
  const total = files.reduce((sum, {file}) => sum + file.size, 0) || 1;
  let bytes = 0, done = 0;
  const sent = [];
  progress(0, `Uploading 0 of ${files.length}`);
  try {
    for (const batch of batches(files)) {
      const paths = await request(batch, (loaded) =>
        progress((bytes + loaded) / total, `Uploading ${done} of ${files.length}`));
      paths.forEach((path, i) => sent.push({path, name: batch[i].name}));
      done += batch.length;
      bytes += batch.reduce((sum, {file}) => sum + file.size, 0);
      if (stopped) throw new Error("Stopped: no photos were added.");
    }
    trigger("upload", {files: sent, left_out: left_out.slice(0, 1000)});
  } catch (error) {
    problem(stopped ? "Stopped: no photos were added." : error.message);
  }
  sending = null;
  one(".sending").hidden = true;
}

function* batches(files) {
  let batch = [], bytes = 0;
  for (const item of files) {
    if (batch.length && (batch.length >= AT_ONCE || bytes + item.file.size > BYTES_AT_ONCE)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(item);
    bytes += item.file.size;
  }
  if (batch.length) yield batch;
}

function request(batch, onBytes) {  // gradio's own upload; returns the paths on the server, in order
  const form = new FormData();
  for (const {file} of batch) form.append("files", file, file.name);
  const {root, api_prefix} = window.gradio_config;
  return new Promise((resolve, reject) => {
    sending = new XMLHttpRequest();
    sending.upload.onprogress = (event) => onBytes(Math.min(event.loaded, event.total));
    sending.onload = () => {
      if (sending.status === 200) resolve(JSON.parse(sending.responseText));
      else if (sending.status >= 500) reject(new Error("The server could not save the files. Is its disk for temporary files full?"));
      else reject(new Error(`The upload was refused (${sending.status}: ${sending.responseText.slice(0, 200)}).`));
    };
    sending.onerror = () => reject(new Error("The upload was interrupted. Is the app still running, and do the files still exist?"));
    sending.onabort = () => reject(new Error("Stopped: no photos were added."));
    sending.open("POST", `${root}${api_prefix || ""}/upload`);
    sending.send(form);
  });
}

function progress(share, text) {
  one(".sending").hidden = false;
  one(".done").style.width = `${100 * share}%`;
  one(".sending span").textContent = text;
}

function problem(text) {
  one(".problem").textContent = text;
  one(".problem").hidden = !text;
}

async function take(promise) {
  if (sending) { problem("Wait until the current upload is finished, or stop it."); return; }
  try { await send(await promise); } catch (error) { problem(`The files could not be read (${error.message}).`); }
}

// --- what the slot shows

function receive() {
  const value = JSON.parse(props.value || "null");
  names = value ? value.names : [];
  one(".content").hidden = !value || !(value.total || value.left_out);
  if (!value) return;
  one(".said").textContent = value.said;
  one(".empty").hidden = !value.total;
  one(".left-out").textContent = value.left_out;
  const list = one("ul"), held = element.contains(document.activeElement) && document.activeElement.dataset.index;
  list.replaceChildren(...names.map((name, i) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.textContent = "×";
    button.dataset.index = i;
    button.title = button.ariaLabel = `Remove ${name}`;
    item.append(button, ` ${name}`);
    return item;
  }));
  if (value.total > names.length) list.append(Object.assign(document.createElement("li"),
    {textContent: `… and ${value.total - names.length} more`}));
  one("details").hidden = !value.total;
  if (held) (list.querySelector(`[data-index="${Math.min(held, names.length - 1)}"]`) || one(".choose-files")).focus();
}

element.addEventListener("dragover", (event) => { event.preventDefault(); one(".slot").classList.add("over"); });
element.addEventListener("dragleave", () => one(".slot").classList.remove("over"));
element.addEventListener("drop", (event) => {
  event.preventDefault();
  one(".slot").classList.remove("over");
  take(dropped(event.dataTransfer));
});
element.addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(dropped(event.clipboardData)); });
element.addEventListener("change", (event) => {
  if (!event.target.matches("input[type=file]")) return;
  take(chosen(event.target));
  event.target.value = "";  // so that choosing the same files again is a change
});
element.addEventListener("click", (event) => {
  if (event.target.matches(".choose-files")) one(".files").click();
  if (event.target.matches(".choose-folder")) one(".folder").click();
  if (event.target.matches(".stop")) { stopped = true; sending?.abort(); }
  if (event.target.matches(".empty")) { trigger("clear"); one(".choose-files").focus(); }
  if (event.target.matches("li button")) trigger("delete", {names: [names[event.target.dataset.index]]});
});
watch("value", receive);
receive();
