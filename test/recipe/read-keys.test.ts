import { resolveConfig, withScheme } from '../../lib/recipe/config.js'
import { recipeDifferences } from '../../lib/recipe/differences.js'
import { readKeys } from '../../lib/recipe/read-keys.js'
import { test } from '../serial.js'

const subnetworks = [
  { l: 0.5, n: 0.5 },
  { l: 1, n: 1 },
]
const config = resolveConfig({ data: 'mnist', model: 'vit_micro', schedule: { subnetworks } })
type Kind = Parameters<typeof withScheme>[1]

/** Keys of `schedule` and `search` that change nothing for a scheme, and those that do. */
const cases: [change: object, unread: Kind[], read: Kind[]][] = [
  [{ ratio: 0.7 }, ['original', 'progstack', 'fixed'], ['prog', 'autoprog', 'supernet']],
  [{ stages: 5 }, ['original', 'progstack', 'fixed'], ['prog', 'autoprog', 'supernet']],
  [{ subnetworks: [{ l: 1, n: 0.5 }] }, ['original', 'prog', 'progstack', 'autoprog', 'supernet'], ['fixed']],
  [{ operator: 'interpolation' }, ['original', 'progstack', 'supernet'], ['prog', 'autoprog', 'fixed']],
  [{ operator: 'mogrow' }, ['original', 'supernet', 'prog', 'autoprog', 'fixed'], ['progstack']],
  [{ source: 'new' }, ['original', 'supernet', 'progstack'], ['prog', 'autoprog', 'fixed']],
  [{ moments: 'restart' }, ['original', 'supernet'], ['prog', 'progstack', 'autoprog', 'fixed']],
]

test('a key counts for the schemes that read it', (t) => {
  for (const [change, unread, read] of cases) {
    const changed = resolveConfig({ ...config, schedule: { ...config.schedule, ...change } })
    const differ = (kind: Kind) =>
      recipeDifferences(readKeys(withScheme(config, kind)), readKeys(withScheme(changed, kind))).length > 0
    t.deepEqual(unread.filter(differ), [], JSON.stringify(change))
    t.deepEqual(read.filter(differ), read, JSON.stringify(change))
  }
})

test('search counts where something is searched, and everything else always', (t) => {
  const changed = resolveConfig({ ...config, search: { batches: 3 } })
  const other = resolveConfig({ ...config, epochs: 30 })
  for (const kind of ['original', 'prog', 'progstack', 'autoprog', 'supernet', 'fixed'] as const) {
    const keys = readKeys(withScheme(config, kind))
    const searches = kind === 'autoprog' || kind === 'supernet'
    t.deepEqual(
      recipeDifferences(keys, readKeys(withScheme(changed, kind))),
      searches ? ['search.batches: 50 and 3'] : [],
    )
    t.deepEqual(recipeDifferences(keys, readKeys(withScheme(other, kind))), ['epochs: 20 and 30'])
  }
})
