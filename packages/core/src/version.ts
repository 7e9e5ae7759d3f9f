import manifest from '../package.json' with { type: 'json' }

/** The version of this product, the same for all its packages. */
export const VERSION: string = manifest.version
