// Airflow keeps its colour mode in localStorage, which pages of the same origin share.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("theme");
    } catch {
      // no storage: the system decides
    }
    const theme = chosen === "dark" || chosen === "light" ? chosen : dark.matches ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
  };
  follow();
  dark.addEventListener("change", follow);
  addEventListener("storage", follow);
})();
