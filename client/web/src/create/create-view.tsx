import { useEffect } from "preact/hooks";
import { Gallery } from "../gallery/gallery.tsx";
import { generate } from "../generation/current.ts";
import { catalogProblem, loadCatalog, models, selectedModel } from "../models/catalog.ts";
import { Notice } from "../ui/notice.tsx";
import { Settings } from "./settings.tsx";
import { Stage } from "./stage.tsx";

export function CreateView() {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) generate();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  return (
    <div class="create">
      <h1 class="hidden">Create images</h1>
      <section class="settings" aria-label="Settings">
        <SettingsOrWhyNot />
      </section>
      <Stage />
      <Gallery />
    </div>
  );
}

function SettingsOrWhyNot() {
  if (models.value === undefined) {
    const problem = catalogProblem.value;
    if (problem === undefined) return <p class="loading">Asking the server for its models…</p>;
    return (
      <Notice kind="error" title={problem.title}>
        <p>{problem.message}</p>
        <button type="button" onClick={() => void loadCatalog()}>
          Try now
        </button>
      </Notice>
    );
  }
  if (models.value.length === 0) {
    return (
      <Notice kind="info" title="This server has no models yet">
        <p>
          Copy a model into the folder that <code>denoised --models</code> names. It appears here
          within seconds.
        </p>
      </Notice>
    );
  }
  return <Settings model={selectedModel.value} />;
}
