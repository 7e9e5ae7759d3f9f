/** The Basic scheme (RFC 7617), as registries, token servers and proxies take it. */
export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}
