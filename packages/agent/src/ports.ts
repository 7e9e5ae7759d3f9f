/** Every seam inside the agent. Folders import this file, core and themselves; only agent.ts knows who implements what. */
export type * from './ports/common.ts'
export type * from './ports/content.ts'
export type * from './ports/directory.ts'
export type * from './ports/foreign.ts'
export type * from './ports/images.ts'
export type * from './ports/sources.ts'
export type * from './ports/store.ts'
