/**
 * Returns a header's entity tags as the service sent them. A proxy that compresses responses makes tags weak (`W/`) or
 * appends the encoding (`-gzip`, `;gzip`), and If-Match fails with such a tag. The tags of the service are strong, and
 * contain neither `-` nor `;`.
 */
export function originalTags(header: string): string {
  return header.replace(/(?:W\/)?("[^"]*?)(?:[-;][^"]*)?"/g, '$1"');
}
