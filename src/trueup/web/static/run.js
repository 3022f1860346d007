// A run under way: its events, as the server tells them.

const WORDS = { queued: "Queued", observing: "Looking", applying: "Applying" };
const AGAIN_MS = 2000;

/**
 * Show what happens in a run.
 * @param section The element with data-run, and data-after: the number of the last event that it shows.
 * @param ended Is called with the run's id when it has ended, or waits for a person.
 */
export function watch(section, ended) {
  section.dataset.watched = "";
  const run = section.dataset.run;
  const find = (name) => section.querySelector(`[data-${name}]`);
  let after = Number(section.dataset.after);
  let over = false;
  let source;

  const lost = (yes) => {
    find("lost").hidden = !yes;
    if (yes) find("lost").setAttribute("role", "status");
  };
  const finish = () => {
    if (over) return;
    over = true;
    source.close();
    ended(run);
  };
  const heard = (event) => {
    after = Number(event.lastEventId);
    lost(false);
    return JSON.parse(event.data);
  };

  function listen() {
    source = new EventSource(`/api/v1/runs/${encodeURIComponent(run)}/events?after=${after}`);
    source.addEventListener("open", () => lost(false));
    source.addEventListener("state", (event) => {
      const state = heard(event).state;
      if (state in WORDS) find("word").textContent = WORDS[state];
      else finish();
    });
    source.addEventListener("progress", (event) => show(heard(event)));
    source.addEventListener("failure", (event) => {
      const { key, status, why } = heard(event);
      const line = document.createElement("li");
      line.textContent = `x ${status} ${key}: ${why}`;
      line.className = "red";
      find("failures").append(line);
    });
    source.addEventListener("error", () => {
      if (over || !section.isConnected) return source.close();
      if (source.readyState === EventSource.CLOSED) check();
      else lost(true);
    });
  }

  /** The stream was refused, or all is told (204): which of them, the run itself says. */
  async function check() {
    try {
      const answer = await fetch(`/api/v1/runs/${encodeURIComponent(run)}`);
      if (answer.ok && !(await answer.json()).active) return finish();
    } catch {
      // not there either: the message says so
    }
    lost(true);
    setTimeout(listen, AGAIN_MS);
  }

  function show(progress) {
    const bar = section.querySelector("progress");
    if (progress.total) {
      bar.max = progress.total;
      bar.value = progress.done;
      const bytes = progress.total_bytes ? `, ${amount(progress.bytes)} of ${amount(progress.total_bytes)}` : "";
      find("count").textContent = `${progress.done.toLocaleString("en")} of ${progress.total.toLocaleString("en")}${bytes}`;
    } else if (progress.done) {
      find("count").textContent = `${progress.done.toLocaleString("en")} seen`;
    }
    find("now").textContent = progress.current ?? "";
  }

  listen();
}

/** Bytes in decimal units, as the rest of the page has them. */
function amount(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (bytes >= 999.5 && power < units.length - 1) {
    bytes /= 1000;
    power += 1;
  }
  return `${power && bytes < 9.95 ? bytes.toFixed(1) : Math.round(bytes)} ${units[power]}`;
}
