// Fields with the usual controls.
import { Field, useForm } from "./field.tsx";

interface NumberFieldProps {
  path: string;
  label: string;
  /** What holds where the field is empty. */
  absent: number | string;
  step: number | "any";
  hint?: string;
}

export function NumberField({ path, label, absent, step, hint }: NumberFieldProps) {
  return (
    <Field path={path} label={label} hint={hint}>
      {(control) => (
        <input
          {...control}
          type="number"
          inputMode="decimal"
          step={step}
          placeholder={String(absent)}
        />
      )}
    </Field>
  );
}

interface SelectFieldProps {
  path: string;
  label: string;
  /** What the empty choice says. Undefined: there is none. */
  absent?: string;
  words: readonly string[];
  hint?: string;
  class?: string;
}

export function SelectField({ absent, words, ...field }: SelectFieldProps) {
  return (
    <Field {...field}>
      {(control) => (
        <select {...control}>
          {absent !== undefined && <option value="">{absent}</option>}
          {words.map((word) => (
            <option key={word} value={word}>
              {word}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

interface TextFieldProps {
  path: string;
  label: string;
  placeholder?: string;
  hint?: string;
}

export function TextField({ placeholder, ...field }: TextFieldProps) {
  return (
    <Field {...field}>
      {(control) => <input {...control} type="text" autoComplete="off" placeholder={placeholder} />}
    </Field>
  );
}

/** A field that is either true or absent. */
export function CheckField({ path, label }: { path: string; label: string }) {
  const form = useForm();
  return (
    <label class="check" data-field={path}>
      <input
        type="checkbox"
        name={path}
        checked={form.settings.value[path] === "true"}
        onChange={(event) => form.setField(path, event.currentTarget.checked ? "true" : "")}
      />
      {label}
    </label>
  );
}
