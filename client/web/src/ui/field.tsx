// A setting of a form: its label, its control, and what is wrong with it.
import { createContext, type ComponentChildren } from "preact";
import { useContext, useEffect, useId } from "preact/hooks";
import type { Form } from "../request/form.ts";
import type { Violation } from "../rpc/problem.ts";

/** The form that the fields below belong to. */
export const FormContext = createContext<Form | undefined>(undefined);

export function useForm(): Form {
  const form = useContext(FormContext);
  if (form === undefined) throw new Error("a field needs a FormContext above it");
  return form;
}

/** What an element needs to be the control of a field. */
export interface Control {
  id: string;
  name: string;
  value: string;
  "aria-invalid"?: "true";
  "aria-describedby"?: string;
  onInput: (event: { currentTarget: { value: string } }) => void;
}

interface FieldProps {
  /** The path in the request. Violations of fields within it are shown here, too. */
  path: string;
  label: ComponentChildren;
  /** A few words beside the label. */
  hint?: ComponentChildren;
  class?: string;
  children: (control: Control) => ComponentChildren;
}

export function Field({ path, label, hint, children, ...props }: FieldProps) {
  const id = useId();
  const form = useForm();
  const problems = useProblems(path);
  return (
    <div class={`field ${props.class ?? ""}`} data-field={path}>
      <label for={id}>
        {label}
        {hint !== undefined && <span class="hint">{hint}</span>}
      </label>
      {children({
        id,
        name: path,
        value: form.settings.value[path] ?? "",
        "aria-invalid": problems.length > 0 ? "true" : undefined,
        "aria-describedby": problems.length > 0 ? `${id}-problem` : undefined,
        onInput: (event) => form.setField(path, event.currentTarget.value),
      })}
      {problems.length > 0 && <Problems id={`${id}-problem`} path={path} problems={problems} />}
    </div>
  );
}

/** A setting of several controls, such as a choice of many. */
export function FieldGroup({
  path,
  label,
  hint,
  children,
}: Omit<FieldProps, "children"> & { children: ComponentChildren }) {
  const id = useId();
  const problems = useProblems(path);
  return (
    <fieldset
      class="field"
      data-field={path}
      aria-describedby={problems.length > 0 ? id : undefined}
    >
      <legend>
        {label}
        {hint !== undefined && <span class="hint">{hint}</span>}
      </legend>
      {children}
      {problems.length > 0 && <Problems id={id} path={path} problems={problems} />}
    </fieldset>
  );
}

function useProblems(path: string): Violation[] {
  const form = useForm();
  useEffect(() => form.showPath(path), [form, path]);
  return form.violationsOf(path);
}

function Problems({ id, path, problems }: { id: string; path: string; problems: Violation[] }) {
  return (
    <p class="violation" id={id} role="alert">
      {problems
        .map(({ field, description }) =>
          field === path
            ? description
            : `${field.slice(path.length).replace(/^\./, "")}: ${description}`,
        )
        .join("; ")}
    </p>
  );
}
