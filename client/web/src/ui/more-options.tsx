// Fields of a request that have no place of their own in its form, by their names in the contract:
// those that are set, and a list to add one from.
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { useSignal } from "@preact/signals";
import { enumWords, fieldAt } from "../request/fields.ts";
import { type Control, Field, useForm } from "./field.tsx";

interface MoreOptionsProps {
  schema: DescMessage;
  /** The fields that can be added. */
  paths: readonly string[];
  /** Whether a field has a place of its own in the form. */
  isPlaced: (path: string) => boolean;
}

export function MoreOptions({ schema, paths, isPlaced }: MoreOptionsProps) {
  const form = useForm();
  const added = useSignal<readonly string[]>([]);
  const set = Object.keys(form.settings.value).filter((path) => !isPlaced(path));
  const shown = [...new Set([...set, ...added.value])];
  return (
    <details class="more" open={shown.length > 0}>
      <summary>
        More options
        <span class="hint">{shown.length > 0 ? shown.length : `${paths.length} fields`}</span>
      </summary>
      {shown.map((path) => (
        <OptionRow
          key={path}
          path={path}
          field={fieldAt(schema, path)}
          onRemove={() => {
            added.value = added.value.filter((other) => other !== path);
            form.setField(path, "");
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
        {paths
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

interface OptionRowProps {
  path: string;
  field: DescField | undefined;
  onRemove: () => void;
}

function OptionRow({ path, field, onRemove }: OptionRowProps) {
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
