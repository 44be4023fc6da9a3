// Asks without leaving the page and writes the answer as it comes. Everything a model says is text, never markup.
const form = document.getElementById("question");
const ask = document.getElementById("ask");
const stop = document.getElementById("stop");
const answer = document.getElementById("answer");
const failure = document.getElementById("failure");
const tokens = document.getElementById("tokens");
let running = null;

function counted(usage, seconds) {
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  const input = `${usage.prompt_tokens} input tokens` + (cached ? ` (${cached} cached)` : "");
  return `${input}, ${usage.completion_tokens} output tokens, ${seconds.toFixed(1)} s`;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const data = line.trimEnd();
      if (data.startsWith("data: ") && data !== "data: [DONE]") yield JSON.parse(data.slice(6));
    }
  }
}

async function answered(signal) {
  const began = performance.now();
  const response = await fetch(form.action, {
    method: "POST", body: new FormData(form), headers: { Accept: "text/event-stream" }, signal,
  });
  if (response.redirected) throw new Error("You are signed out. Load the page again.");
  if (!response.ok) {
    const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
    throw new Error(isJson ? (await response.json()).error.message : "That did not work. Load the page again.");
  }
  tokens.textContent = "waiting for the first token; a sleeping model wakes first";
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    const piece = event.choices?.[0]?.delta?.content;
    if (piece) {
      answer.append(document.createTextNode(piece));
      if (!event.usage) tokens.textContent = "answering";
    }
    if (event.usage) tokens.textContent = counted(event.usage, (performance.now() - began) / 1000);
  }
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  running?.abort();
  running = new AbortController();
  answer.textContent = failure.textContent = "";
  tokens.textContent = "asking";
  ask.disabled = true;
  stop.hidden = false;
  try {
    await answered(running.signal);
  } catch (error) {
    tokens.textContent = error.name === "AbortError" ? "stopped" : "";
    if (error.name !== "AbortError") failure.textContent = error.message;
  } finally {
    ask.disabled = false;
    stop.hidden = true;
  }
});
stop?.addEventListener("click", () => running?.abort());
