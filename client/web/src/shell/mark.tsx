/** The mark: noise on the left becomes a letter on the right. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 14 12" width="21" height="18" aria-hidden="true">
      <path class="noise-fill" d="M0 1h2v2H0zM2 5h2v2H2zM0 9h2v2H0zM4 3h2v2H4zM4 9h2v2H4z" />
      <path class="signal-fill" d="M6 1h4v2h2v6h-2v2H6V7h2V5H6z" />
    </svg>
  );
}
