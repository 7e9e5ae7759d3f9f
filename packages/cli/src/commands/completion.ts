import { Argument, type Command } from 'commander'
import { bashCompletion } from '../completion/bash.ts'
import { fishCompletion } from '../completion/fish.ts'
import { type CompletedCommand, completedCommands } from '../completion/model.ts'
import { zshCompletion } from '../completion/zsh.ts'
import { examples } from '../daemon-options.ts'

type Shell = 'bash' | 'zsh' | 'fish'

const SCRIPTS: Readonly<Record<Shell, (commands: readonly CompletedCommand[]) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion
}

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .description('print a script that makes a shell complete commands, options and their values')
    .addArgument(new Argument('<SHELL>', 'the shell').choices(Object.keys(SCRIPTS)))
    .addHelpText('after', '\nThe Debian package has installed these.')
    .addHelpText(
      'after',
      examples(
        'source <(layerswarm completion bash)       # in ~/.bashrc',
        'source <(layerswarm completion zsh)        # in ~/.zshrc, after compinit',
        'layerswarm completion fish > ~/.config/fish/completions/layerswarm.fish'
      )
    )
    .action((shell: Shell) => {
      process.stdout.write(SCRIPTS[shell](completedCommands(program)))
    })
}
