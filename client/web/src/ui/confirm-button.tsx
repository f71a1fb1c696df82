// A button for what cannot be undone: it asks once more.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

interface ConfirmButtonProps {
  label: string;
  /** What is asked: "Delete pets and its 1,576 pictures?" */
  question: string;
  disabled?: boolean;
  onConfirm: () => void;
}

export function ConfirmButton({ label, question, disabled, onConfirm }: ConfirmButtonProps) {
  const asking = useSignal(false);
  const keep = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (asking.value) keep.current?.focus();
  }, [asking.value]);
  if (!asking.value)
    return (
      <button type="button" class="quiet" disabled={disabled} onClick={() => (asking.value = true)}>
        {label}
      </button>
    );
  return (
    <div
      class="confirm"
      role="group"
      aria-label={question}
      onKeyDown={(event) => {
        if (event.key === "Escape") asking.value = false;
      }}
    >
      <span>{question}</span>
      <button type="button" class="cancel" disabled={disabled} onClick={onConfirm}>
        {label}
      </button>
      <button ref={keep} type="button" class="quiet" onClick={() => (asking.value = false)}>
        Keep it
      </button>
    </div>
  );
}
