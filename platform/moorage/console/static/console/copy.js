// Anything with data-copy is copied when it is clicked: its attribute's value, or its own text.
document.addEventListener("click", async (event) => {
  const element = event.target.closest("[data-copy]");
  if (!element || !navigator.clipboard) return;
  const text = element.dataset.copy || element.textContent.trim();
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return;
  }
  const before = element.title;
  element.title = "Copied";
  element.classList.add("copied");
  setTimeout(() => {
    element.title = before;
    element.classList.remove("copied");
  }, 1500);
});
