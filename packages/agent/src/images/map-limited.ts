/**
 * Maps with at most `limit` at a time, results in order. After a failure no more is begun, and what runs has ended
 * when the first failure is thrown.
 */
export async function mapLimited<T, R>(items: readonly T[], limit: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Map<number, R>()
  const failures: unknown[] = []
  const queue = items.entries()
  const lane = async () => {
    for (const [at, item] of queue) {
      if (failures.length > 0) return
      results.set(at, await work(item))
    }
  }
  await Promise.all(Array.from({ length: limit }, () => lane().catch((error: unknown) => failures.push(error))))
  if (failures.length > 0) throw failures[0]
  return items.map((_item, at) => results.get(at) as R)
}
