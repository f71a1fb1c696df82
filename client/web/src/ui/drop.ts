// A place that files can be dropped on.
import { useSignal } from "@preact/signals";

/** The attributes of the element. It has `data-over` while something is above it. */
export function useDrop(take: (dropped: DataTransfer) => void) {
  const over = useSignal(false);
  return {
    "data-over": over.value,
    onDragOver: (event: DragEvent) => {
      event.preventDefault();
      over.value = true;
    },
    onDragLeave: () => void (over.value = false),
    onDrop: (event: DragEvent) => {
      event.preventDefault();
      over.value = false;
      if (event.dataTransfer) take(event.dataTransfer);
    },
  };
}
