// Reads along: every line as text, never markup. Without it the page shows the last lines as they were.
const log = document.getElementById("log");
const state = document.getElementById("log-state");
const stay = document.getElementById("log-stay");
const MOST = 2000;

function line(event) {
  const told = JSON.parse(event.data);
  const row = document.createElement("div");
  row.className = `line ${told.stream}`;
  const when = document.createElement("time");
  when.dateTime = told.at;
  when.title = told.at;
  when.textContent = told.at.slice(11, 19);
  row.append(when, " ");
  if (log.dataset.whose) {
    const whose = document.createElement("span");
    whose.className = "id soft";
    whose.title = told.replica_id;
    whose.textContent = told.replica_id.slice(-6);
    row.append(whose, " ");
  }
  row.append(document.createTextNode(told.text));
  log.append(row);
  while (log.childElementCount > MOST) log.firstElementChild.remove();
  if (stay.checked) log.scrollTop = log.scrollHeight;
}

if (log?.dataset.stream) {
  const source = new EventSource(log.dataset.stream);
  let begun = false;
  source.addEventListener("open", () => {
    if (!begun) log.replaceChildren();
    begun = true;
    state.textContent = "Live: lines come as they are printed.";
  });
  source.addEventListener("line", line);
  source.addEventListener("end", (event) => {
    const reason = JSON.parse(event.data).reason;
    state.textContent = reason;
    // What was only long enough goes on by itself.
    if (!reason.startsWith("That was long enough")) source.close();
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) {
      state.textContent = "Not live: too many of your organization read along now. These are the last lines.";
    } else if (begun) {
      state.textContent = "The connection broke; trying again.";
    }
  });
  window.addEventListener("pagehide", () => source.close());
}
