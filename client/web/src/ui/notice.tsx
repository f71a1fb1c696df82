import type { ComponentChildren } from "preact";

interface NoticeProps {
  kind: "info" | "error";
  title: string;
  children?: ComponentChildren;
}

/** Says what happened, and what to do next. */
export function Notice({ kind, title, children }: NoticeProps) {
  return (
    <div class={`notice ${kind}`} role={kind === "error" ? "alert" : "status"}>
      <strong>{title}</strong>
      {children !== undefined && <div>{children}</div>}
    </div>
  );
}
