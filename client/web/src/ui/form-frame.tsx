// The frame around the fields of a form: sends it, says what no field shows, and leads to what is
// wrong.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Form } from "../request/form.ts";
import { FormContext } from "./field.tsx";
import { Notice } from "./notice.tsx";

interface FormFrameProps {
  form: Form;
  onSubmit: () => void;
  /** The buttons below the fields. */
  actions: ComponentChildren;
  children: ComponentChildren;
}

export function FormFrame({ form, onSubmit, actions, children }: FormFrameProps) {
  const element = useRef<HTMLFormElement>(null);
  useEffect(() => {
    // On a small screen the wrong field may be out of sight.
    if (form.refusals.value === 0) return;
    const wrong = element.current?.querySelector<HTMLElement>("[aria-invalid], .violation");
    wrong?.scrollIntoView({ block: "center" });
    wrong?.focus({ preventScroll: true });
  }, [form.refusals.value]);
  return (
    <FormContext.Provider value={form}>
      <form
        ref={element}
        class="form"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          onSubmit();
        }}
      >
        <div class="fields">{children}</div>
        <OtherProblems form={form} />
        <div class="actions">{actions}</div>
      </form>
    </FormContext.Provider>
  );
}

function OtherProblems({ form }: { form: Form }) {
  if (form.otherViolations.value.length === 0) return null;
  return (
    <Notice kind="error" title="The request is invalid">
      <ul>
        {form.otherViolations.value.map(({ field, description }) => (
          <li key={field}>
            <code>{field}</code> {description}
          </li>
        ))}
      </ul>
    </Notice>
  );
}
