// Which adapters (LoRA) change the model, and how much.
import type { Adapter, Model } from "../gen/denoised/v1/models_pb.ts";
import { adaptersOf, shortName } from "../models/catalog.ts";
import { address } from "../request/address.ts";
import { setFields } from "../request/draft.ts";
import type { Settings } from "../request/fields.ts";
import { FieldGroup } from "../ui/field.tsx";

interface Applied {
  name: string;
  scale: string;
}

function appliedIn(settings: Settings): Applied[] {
  const applied: Applied[] = [];
  for (let i = 0; settings[`adapters[${i}].name`] !== undefined; i++) {
    applied.push({
      name: settings[`adapters[${i}].name`] ?? "",
      scale: settings[`adapters[${i}].scale`] ?? "",
    });
  }
  return applied;
}

function apply(next: Applied[]) {
  const change: Record<string, string> = {};
  for (const path of Object.keys(address.peek().settings)) {
    if (path.startsWith("adapters[")) change[path] = "";
  }
  next.forEach(({ name, scale }, i) => {
    change[`adapters[${i}].name`] = name;
    change[`adapters[${i}].scale`] = scale;
  });
  setFields(change);
}

export function AdapterFields({ model }: { model: Model }) {
  const fitting = adaptersOf(model);
  const applied = appliedIn(address.value.settings);
  return (
    <FieldGroup path="adapters" label="Adapters" hint="LoRA, up to four">
      {fitting.length === 0 && (
        <p class="explanation">
          None fits this model. Put safetensors files into its folder <code>loras</code> or into the
          folder of <code>denoised --adapters</code>.
        </p>
      )}
      {fitting.map((adapter) => (
        <AdapterRow key={adapter.name} adapter={adapter} applied={applied} />
      ))}
    </FieldGroup>
  );
}

function AdapterRow({ adapter, applied }: { adapter: Adapter; applied: Applied[] }) {
  const at = applied.findIndex(({ name }) => name === adapter.name);
  const scale = applied[at]?.scale ?? "";
  const setScale = (event: { currentTarget: { value: string } }) =>
    apply(applied.map((one, i) => (i === at ? { ...one, scale: event.currentTarget.value } : one)));
  return (
    <div class="adapter">
      <label>
        <input
          type="checkbox"
          checked={at >= 0}
          disabled={adapter.error !== ""}
          onChange={() =>
            apply(
              at >= 0
                ? applied.filter((_, i) => i !== at)
                : [...applied, { name: adapter.name, scale: "" }],
            )
          }
        />
        {shortName(adapter.name)}
        <span class="hint">rank {adapter.rank}</span>
      </label>
      {at >= 0 && (
        <>
          <input
            type="range"
            min="-2"
            max="2"
            step="0.05"
            value={scale === "" ? "1" : scale}
            aria-label={`Scale of ${shortName(adapter.name)}`}
            onInput={setScale}
          />
          <input
            type="number"
            step="0.05"
            value={scale}
            placeholder="1"
            aria-label={`Scale of ${shortName(adapter.name)}, as a number`}
            onInput={setScale}
          />
        </>
      )}
    </div>
  );
}
