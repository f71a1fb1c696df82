import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "es2022",
    // The page's Content-Security-Policy allows files of its own origin, and no inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
