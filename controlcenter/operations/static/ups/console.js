"use strict";
// Keeps pages up to date: parts marked data-refresh are fetched anew from the page itself, so that
// there is one rendering, the server's.
(() => {
  const live = () => document.querySelectorAll("[data-refresh][id]");
  let busy = false;

  async function refresh() {
    if (busy) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of live()) {
        const fresh = page.getElementById(part.id);
        if (fresh && !part.querySelector("details[open]")) part.replaceWith(fresh);
      }
    } catch (error) {
      console.warn("could not refresh", error);
    } finally {
      busy = false;
    }
  }

  // A task: its stream says what happened; what it shows is fetched.
  function follow(task) {
    const seen = Number(task.dataset.last);
    const text = (name, value) => {
      const place = document.getElementById("task-" + name);
      if (place && value !== undefined && value !== null) place.textContent = value;
    };
    const stream = new EventSource(task.dataset.stream);
    let due = 0;
    const later = (wait) => {
      if (due) return;
      due = setTimeout(() => { due = 0; refresh(); }, wait);
    };
    stream.addEventListener("progress", (event) => {
      if (Number(event.lastEventId) <= seen) return;
      const data = JSON.parse(event.data);
      const bar = document.getElementById("task-bar");
      if (bar && typeof data.share === "number") bar.value = data.share;
      text("stage", data.stage);
      text("share", typeof data.share === "number" ? Math.round(data.share * 100) + " %" : undefined);
      text("message", data.message);
      text("epoch", data.epoch);
      text("loss", typeof data.loss === "number" ? data.loss.toFixed(4) : undefined);
      later(3000);
    });
    for (const kind of ["state", "retry", "cancel"]) {
      stream.addEventListener(kind, (event) => { if (Number(event.lastEventId) > seen) later(200); });
    }
    stream.addEventListener("end", () => { stream.close(); later(200); });
  }

  // An explanation: asked for until a worker has it.
  async function explain(place) {
    for (let turn = 0; turn < 30; turn += 1) {
      const answer = await fetch(place.dataset.explanation, { credentials: "same-origin", headers: { Accept: "application/json" } });
      if (answer.status === 200) return refresh();
      if (answer.status !== 202) {
        const problem = await answer.json().catch(() => ({}));
        place.textContent = problem.detail || "The explanation could not be read (" + answer.status + ").";
        return undefined;
      }
      await new Promise((done) => setTimeout(done, 1000 * Number(answer.headers.get("Retry-After") || 2)));
    }
    place.textContent = "No worker has answered yet: reload this page later.";
    return undefined;
  }

  document.addEventListener("DOMContentLoaded", () => {
    const task = document.querySelector("[data-stream]");
    if (task) follow(task);
    const asked = document.querySelector("[data-explanation]");
    if (asked) explain(asked).catch((error) => { asked.textContent = "No answer: " + error.message; });
    const every = document.querySelector("[data-every]");
    if (every) setInterval(() => { if (!document.hidden) refresh(); }, 1000 * Number(every.dataset.every));
  });
})();
