import { useEffect } from "preact/hooks";
import { problemOf } from "../rpc/problem.ts";
import { backoffMs, isAborted, sleep } from "../rpc/retry.ts";
import { Notice } from "../ui/notice.tsx";
import { catalogProblem, loadCatalog, models, watchModels } from "./catalog.ts";
import { managingRefused, ModelCard } from "./model-card.tsx";

export function ModelsView() {
  useEffect(() => {
    const leaving = new AbortController();
    void loadCatalog(); // the adapters, which the watch does not tell
    void follow(leaving.signal);
    return () => leaving.abort();
  }, []);
  return (
    <div class="models">
      <h1>Models</h1>
      <p class="explanation">
        What this server can generate with. It follows its folder: models that are copied there
        appear here, and changed ones are replaced.
      </p>
      {managingRefused.value && (
        <Notice kind="info" title="Callers may not load and unload models on this server">
          Start it with <code>denoised --manage-models</code> to allow it. Requests load what they
          need by themselves.
        </Notice>
      )}
      <Cards />
    </div>
  );
}

async function follow(signal: AbortSignal): Promise<void> {
  for (let attempt = 0; !isAborted(signal); attempt++) {
    try {
      await watchModels(signal);
    } catch (thrown) {
      if (!isAborted(signal)) catalogProblem.value = problemOf(thrown);
    }
    await sleep(backoffMs(attempt), signal);
    if (!isAborted(signal)) await loadCatalog();
  }
}

function Cards() {
  const problem = catalogProblem.value;
  if (models.value === undefined && problem === undefined)
    return <p class="loading">Asking the server for its models…</p>;
  return (
    <>
      {problem && (
        <Notice kind="error" title={problem.title}>
          {problem.message}
        </Notice>
      )}
      {models.value?.length === 0 && (
        <Notice kind="info" title="This server has no models yet">
          Copy a model into the folder that <code>denoised --models</code> names. It appears here
          within seconds.
        </Notice>
      )}
      <ul class="cards">
        {models.value?.map((model) => (
          <li key={model.name}>
            <ModelCard model={model} />
          </li>
        ))}
      </ul>
    </>
  );
}
