import type { Completed, CompletedCommand, CompletedOption, CompletedValue } from './model.ts'

/** A script for fish that completes `layerswarm`. */
export function fishCompletion(commands: readonly CompletedCommand[]): string {
  const paths = commands.flatMap(({ path }) => (path === '' ? [] : [quoted(path)]))
  return `# fish completion of layerswarm, printed by: layerswarm completion fish

function __layerswarm_at --description 'whether the command line has come to this command'
    set --local at ''
    for word in (commandline --tokenize --current-process --cut-at-cursor)[2..]
        switch "$at $word"
            case ${paths.join(' ')}
                set at "$at $word"
        end
    end
    test "$at" = "$argv[1]"
end

complete --command layerswarm --no-files
${commands.flatMap(lines).join('\n')}
`
}

function lines({ path, commands, words, options }: CompletedCommand): string[] {
  const start = `complete --command layerswarm --condition ${quoted(`__layerswarm_at ${quoted(path)}`)}`
  return [
    ...[...commands, ...words].map(({ name, description }) => `${start} --arguments ${name}${describe(description)}`),
    ...options.map((option) => `${start}${optionArgs(option)}`)
  ]
}

function optionArgs({ flags, description, value, bare }: CompletedOption): string {
  const names = flags.map((flag) => (flag.startsWith('--') ? ` --long-option ${flag.slice(2)}` : ` --short-option ${flag.slice(1)}`))
  return `${names.join('')}${value === undefined ? '' : actionOf(value, bare)}${describe(description)}`
}

function actionOf(value: CompletedValue, bare: boolean): string {
  switch (value.kind) {
    case 'words':
      return ` ${bare ? '' : '--exclusive '}--arguments ${quoted(value.words.join(' '))}`
    case 'file':
      return ' --require-parameter --force-files'
    case 'directory':
      return " --exclusive --arguments '(__fish_complete_directories)'"
    case 'unknown':
      return ' --exclusive'
  }
}

function describe(description: Completed['description']): string {
  return description === '' ? '' : ` --description ${quoted(description)}`
}

function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, '\\$&')}'`
}
