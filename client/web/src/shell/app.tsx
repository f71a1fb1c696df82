import { useEffect } from "preact/hooks";
import { CreateView } from "../create/create-view.tsx";
import { online } from "../gallery/recent.ts";
import { LiveView } from "../live/live-view.tsx";
import { ModelsView } from "../models/models-view.tsx";
import { address, go } from "../request/address.ts";
import { TrainView } from "../train/train-view.tsx";
import { Mark } from "./mark.tsx";
import { SignIn } from "./sign-in.tsx";
import { theme, toggleTheme } from "./theme.ts";

/** What the navigation offers, in its order. */
const views = [
  { id: "create", label: "Create", View: CreateView },
  { id: "live", label: "Live", View: LiveView },
  { id: "train", label: "Train", View: TrainView },
  { id: "models", label: "Models", View: ModelsView },
];

export function App() {
  const view = views.find(({ id }) => id === address.value.view) ?? views[0];
  useEffect(() => {
    document.title = view ? `${view.label} · denoised` : "denoised";
  }, [view]);
  return (
    <>
      <header class="bar">
        <a class="brand" href="#create">
          <Mark />
          denoised
        </a>
        <nav aria-label="Views">
          {views.map(({ id, label }) => (
            <button
              key={id}
              type="button"
              class="tab"
              aria-current={id === view?.id ? "page" : undefined}
              onClick={() => go({ view: id, item: "" })}
            >
              {label}
            </button>
          ))}
        </nav>
        <Connection />
        <SignIn />
        <button type="button" class="quiet theme" onClick={toggleTheme}>
          {theme.value === "dark" ? "Light" : "Dark"}
          <span class="hidden"> theme</span>
        </button>
      </header>
      <main>{view && <view.View />}</main>
    </>
  );
}

function Connection() {
  return (
    <p class="connection" role="status" data-online={online.value}>
      {online.value ? location.host : "Server not reached, trying again…"}
    </p>
  );
}
