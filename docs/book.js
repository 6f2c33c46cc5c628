// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the book's pages do: colours in listings, the buttons of the menu, the keys. Debian's mdBook names this file and
// does not have it.

"use strict";

for (const code of document.querySelectorAll("pre code[class*=language-]")) {
    // What is taken out of the middle of a file starts at the margin.
    const lines = code.textContent.split("\n");
    const indents = lines.filter((line) => line.trim() !== "").map((line) => line.search(/\S/));
    const indent = Math.min(...indents);
    if (indent > 0) {
        code.textContent = lines.map((line) => line.slice(indent)).join("\n");
    }
    // A transcript's prompt is no comment.
    if (code.matches(".language-text, .language-console")) {
        code.classList.add("hljs");
    } else {
        hljs.highlightBlock(code);
    }
}

// What is typed in a transcript stands out from what is printed.
for (const code of document.querySelectorAll("pre code.language-console")) {
    const prompt = code.textContent.slice(0, 2);
    const lines = code.textContent.replace(/\n$/, "").split("\n");
    let typed = false;
    code.replaceChildren();
    for (const line of lines) {
        const goes_on = typed && code.lastTyped.endsWith("\\");
        typed = goes_on || line.startsWith(prompt);
        code.lastTyped = line;
        const span = document.createElement("span");
        span.className = typed ? "typed" : "printed";
        span.textContent = line + "\n";
        code.append(span);
    }
}

const themes = document.getElementById("theme-list");
const names = [...themes.querySelectorAll("button.theme")].map((button) => button.id);

function show_theme() {
    const chosen = localStorage.getItem("mdbook-theme") ?? default_theme;
    html.classList.remove(...names);
    html.classList.add(chosen);
    document.getElementById("ayu-highlight-css").disabled = chosen !== "ayu";
    document.getElementById("tomorrow-night-css").disabled = !["coal", "navy"].includes(chosen);
    document.getElementById("highlight-css").disabled = ["ayu", "coal", "navy"].includes(chosen);
}

show_theme();
document.getElementById("theme-toggle").addEventListener("click", () => {
    themes.style.display = themes.style.display === "block" ? "none" : "block";
});
themes.addEventListener("click", (event) => {
    const name = event.target.id;
    if (name === "default_theme") {
        localStorage.removeItem("mdbook-theme");
    } else {
        localStorage.setItem("mdbook-theme", name);
    }
    themes.style.display = "none";
    show_theme();
});

sidebar_toggle.addEventListener("change", () => {
    const state = sidebar_toggle.checked ? "visible" : "hidden";
    html.classList.remove("sidebar-visible", "sidebar-hidden");
    html.classList.add(`sidebar-${state}`);
    localStorage.setItem("mdbook-sidebar", state);
});

document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, textarea")) {
        return;
    }
    const rel = { ArrowRight: "next", ArrowLeft: "prev" }[event.key];
    document.querySelector(`.nav-chapters.${rel === "prev" ? "previous" : rel}`)?.click();
});
