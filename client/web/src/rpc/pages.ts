/** Every page of a list. `get` asks for the one that `pageToken` names, the first for "". */
export async function everyPage<Page extends { nextPageToken: string }>(
  get: (pageToken: string) => Promise<Page>,
): Promise<Page[]> {
  const pages: Page[] = [];
  let pageToken = "";
  do {
    const page = await get(pageToken);
    pages.push(page);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return pages;
}
