// Asks for a token where the server does.
import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";
import { refreshRecent } from "../gallery/recent.ts";
import { loadCatalog } from "../models/catalog.ts";
import { isRefused, setToken, token } from "../rpc/token.ts";

/** Nothing on a server that everybody may use. */
export function SignIn() {
  if (isRefused.value) return <TokenForm />;
  if (token.value === "") return null;
  return (
    <button type="button" class="quiet" onClick={() => show("")}>
      Sign out
    </button>
  );
}

function TokenForm() {
  const id = useId();
  const text = useSignal("");
  return (
    <form
      class="sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        show(text.value);
      }}
    >
      <label class="hidden" for={id}>
        Token
      </label>
      <input
        id={id}
        type="password"
        autocomplete="off"
        required
        placeholder={token.value === "" ? "Token" : "Refused; another token"}
        value={text.value}
        onInput={(event) => (text.value = event.currentTarget.value)}
      />
      <button type="submit" class="primary">
        Sign in
      </button>
    </form>
  );
}

function show(text: string): void {
  setToken(text);
  void loadCatalog();
  refreshRecent();
}
