// Every other field of the request, by its name in the contract: those that are set, and a list to
// add one from.
import { GenerateRequestSchema } from "../gen/denoised/v1/image_generation_pb.ts";
import { ScalarType, type DescField } from "@bufbuild/protobuf";
import { useSignal } from "@preact/signals";
import { address } from "../request/address.ts";
import { ownFields, setField } from "../request/draft.ts";
import { enumWords, fieldAt, settablePaths } from "../request/fields.ts";
import { type Control, Field } from "../ui/field.tsx";

// Those that have a place of their own in the form.
const placed = new Set([
  ...ownFields,
  ...["model", "class_label", "prompt", "negative_prompt", "width", "height", "seed", "count"],
  ...["sampler.sampler", "sampler.steps", "guidance.scale"],
  ...["start.image.strength", "inpainting.jump_length", "inpainting.resamples"],
]);

const others = settablePaths(GenerateRequestSchema).filter((path) => !placed.has(path));

const isPlaced = (path: string) =>
  placed.has(path) || path.startsWith("adapters[") || path.endsWith(".data");

export function MoreOptions() {
  const added = useSignal<readonly string[]>([]);
  const { settings } = address.value;
  const set = Object.keys(settings).filter((path) => !isPlaced(path));
  const shown = [...new Set([...set, ...added.value])];
  return (
    <details class="more" open={shown.length > 0}>
      <summary>
        More options
        <span class="hint">{shown.length > 0 ? shown.length : `${others.length} fields`}</span>
      </summary>
      {shown.map((path) => (
        <OptionRow
          key={path}
          path={path}
          onRemove={() => {
            added.value = added.value.filter((other) => other !== path);
            setField(path, "");
          }}
        />
      ))}
      <select
        aria-label="Add an option"
        value=""
        onChange={(event) => {
          if (event.currentTarget.value !== "")
            added.value = [...added.value, event.currentTarget.value];
        }}
      >
        <option value="">Add an option…</option>
        {others
          .filter((path) => !shown.includes(path))
          .map((path) => (
            <option key={path} value={path}>
              {path}
            </option>
          ))}
      </select>
    </details>
  );
}

function OptionRow({ path, onRemove }: { path: string; onRemove: () => void }) {
  const field = fieldAt(GenerateRequestSchema, path);
  return (
    <Field path={path} label={<code>{path}</code>}>
      {(control) => (
        <div class="joined">
          <OptionControl control={control} field={field} />
          <button type="button" title={`Remove ${path}`} onClick={onRemove}>
            <span class="hidden">Remove {path}</span>
            <span aria-hidden="true">×</span>
          </button>
        </div>
      )}
    </Field>
  );
}

function OptionControl({ control, field }: { control: Control; field: DescField | undefined }) {
  const words = field && wordsOf(field);
  if (words === undefined)
    return <input {...control} type="text" autoComplete="off" placeholder={formOf(field)} />;
  return (
    <select {...control}>
      <option value="">default</option>
      {words.map((word) => (
        <option key={word} value={word}>
          {word}
        </option>
      ))}
    </select>
  );
}

function wordsOf(field: DescField): string[] | undefined {
  if (field.fieldKind === "enum") return enumWords(field.enum);
  return field.scalar === ScalarType.BOOL ? ["true", "false"] : undefined;
}

function formOf(field: DescField | undefined): string {
  if (field?.fieldKind === "list") return "a, b, c";
  if (field?.scalar === ScalarType.STRING) return "text";
  return "number";
}
