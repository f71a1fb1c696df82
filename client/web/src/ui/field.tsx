// A setting of the request: its label, its control, and what is wrong with it.
import { computed, signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useId } from "preact/hooks";
import { address } from "../request/address.ts";
import { draft, refusedViolations, setField } from "../request/draft.ts";
import { planProblem } from "../request/plan.ts";
import type { Violation } from "../rpc/problem.ts";

/** Everything that is known to be wrong with the settings, each field once. */
const violations = computed<readonly Violation[]>(() => {
  const byField = new Map<string, Violation>();
  const all = [
    ...(planProblem.value?.violations ?? []),
    ...refusedViolations.value,
    ...draft.value.violations,
  ];
  for (const violation of all) byField.set(violation.field, violation);
  return [...byField.values()];
});

const shownPaths = signal<readonly string[]>([]);

const covers = (path: string, field: string) =>
  field === path || field.startsWith(`${path}.`) || field.startsWith(`${path}[`);

/** Those that no field on the page shows. */
export const otherViolations = computed(() =>
  violations.value.filter(({ field }) => !shownPaths.value.some((path) => covers(path, field))),
);

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
  useShownPath(path);
  const problems = violations.value.filter(({ field }) => covers(path, field));
  return (
    <div class={`field ${props.class ?? ""}`} data-field={path}>
      <label for={id}>
        {label}
        {hint !== undefined && <span class="hint">{hint}</span>}
      </label>
      {children({
        id,
        name: path,
        value: address.value.settings[path] ?? "",
        "aria-invalid": problems.length > 0 ? "true" : undefined,
        "aria-describedby": problems.length > 0 ? `${id}-problem` : undefined,
        onInput: (event) => setField(path, event.currentTarget.value),
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
  useShownPath(path);
  const problems = violations.value.filter(({ field }) => covers(path, field));
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

function useShownPath(path: string) {
  useEffect(() => {
    shownPaths.value = [...shownPaths.peek(), path];
    return () => {
      const left = [...shownPaths.peek()];
      left.splice(left.indexOf(path), 1);
      shownPaths.value = left;
    };
  }, [path]);
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
