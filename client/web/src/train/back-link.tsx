/** From one data set or job to all of them. */
export function BackLink() {
  return (
    <p>
      <a href="#train">
        <span aria-hidden="true">← </span>Train
      </a>
    </p>
  );
}
