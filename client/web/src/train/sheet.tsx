import { Picture } from "../ui/picture.tsx";

interface SheetProps {
  blob: Blob | undefined;
  /** In pixels. */
  width: number;
  label: string;
}

/** A picture of many small ones, each pixel as large as the others. */
export function Sheet({ blob, width, label }: SheetProps) {
  return (
    <div class="sheet" style={{ "--w": width }}>
      <Picture blob={blob} label={label} />
    </div>
  );
}
