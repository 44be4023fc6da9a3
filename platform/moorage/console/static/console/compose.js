// The line numbers follow the text; Tab indents; a click on a problem goes to its line; a chosen file is shown at once.
const text = document.querySelector(".editor textarea");
const numbers = document.querySelector(".numbers");
const file = document.querySelector("input[type=file]");

function count() {
  const lines = Math.max(text.value.split("\n").length, 16);
  text.rows = lines;
  while (numbers.children.length > lines) numbers.lastChild.remove();
  while (numbers.children.length < lines) {
    const item = document.createElement("li");
    item.textContent = String(numbers.children.length + 1);
    numbers.append(item);
  }
}

text.addEventListener("input", count);
text.addEventListener("keydown", (event) => {
  // Escape first, then Tab leaves the field, so that the keyboard is not caught here.
  if (event.key === "Escape") text.dataset.leaving = "yes";
  else if (event.key === "Tab" && !event.shiftKey && !text.dataset.leaving) {
    event.preventDefault();
    text.setRangeText("  ", text.selectionStart, text.selectionEnd, "end");
    count();
  } else if (event.key !== "Shift") delete text.dataset.leaving;
});
document.addEventListener("click", (event) => {
  const note = event.target.closest(".note[data-line]");
  if (!note) return;
  const before = text.value.split("\n").slice(0, Number(note.dataset.line) - 1);
  const start = before.reduce((sum, line) => sum + line.length + 1, 0);
  const end = text.value.indexOf("\n", start);
  text.focus();
  text.setSelectionRange(start, end < 0 ? text.value.length : end);
});
file.addEventListener("change", async () => {
  const chosen = file.files[0];
  if (!chosen || chosen.size > 64 * 1024) return;
  text.value = await chosen.text();
  file.value = "";
  count();
});
count();
