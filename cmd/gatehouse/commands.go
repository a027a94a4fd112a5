package main

// commands is the whole command line. The order is that of --help.
type commands struct {
	global

	Serve serve `cmd:"" group:"run" help:"Run the server."`
	Demo  demoC `cmd:"" name:"demo" group:"run" help:"Try everything at once, on throwaway data."`

	Account    accounts    `cmd:"" group:"customers" help:"Customers."`
	Credential credentials `cmd:"" group:"customers" help:"API keys, passwords and client secrets."`
	Session    sessions    `cmd:"" group:"customers" help:"Logins that refreshes carry on."`

	Operator operators `cmd:"" group:"people" help:"Persons who run the server, and tokens of the admin API."`
	Member   membersC  `cmd:"" name:"member" group:"people" help:"Persons of an account."`

	Token      tokens      `cmd:"" group:"tokens" help:"Single tokens."`
	SigningKey signingKeys `cmd:"" group:"tokens" help:"The keys that sign tokens."`
	MasterKey  masterKeys  `cmd:"" group:"tokens" help:"The key that seals all others."`

	Explain explain  `cmd:"" group:"why" help:"Say why a request was refused, and what would mend it."`
	Refusal refusals `cmd:"" group:"why" help:"Who was refused."`
	Usage   usageC   `cmd:"" name:"usage" group:"why" help:"What an account's credentials were used for, by the hour."`
	Audit   audits   `cmd:"" group:"why" help:"Who changed what."`
	Doctor  doctor   `cmd:"" group:"why" help:"Look over the whole installation."`
	Conform conformC `cmd:"" name:"conform" group:"why" help:"Judge whether a server speaks the contracts."`

	Config     configs    `cmd:"" group:"house" help:"The configuration."`
	Webhook    webhooks   `cmd:"" group:"house" help:"Who is told what happens."`
	Backup     backupC    `cmd:"" name:"backup" group:"house" help:"Write a backup of the database, while servers run or not."`
	Restore    restoreC   `cmd:"" name:"restore" group:"house" help:"Make the database out of a backup."`
	Migrate    migrations `cmd:"" group:"house" help:"The database's schema."`
	Completion completion `cmd:"" group:"house" help:"Print what makes a shell complete these commands."`
	Version    version    `cmd:"" group:"house" help:"Print which version this is."`
}

// global are the flags that every command takes.
type global struct {
	Config  string `short:"c" placeholder:"FILE" help:"The configuration file. Without it: GATEHOUSE_CONFIG, ./gatehouse.yaml, /etc/gatehouse/gatehouse.yaml."`
	DataDir string `placeholder:"DIR" help:"The folder of the database, instead of the configured one."`

	Server       string `placeholder:"URL" help:"Work through the admin API of this server, not on the database: the address of its admin_listen. Without it: GATEHOUSE_SERVER. The operator token is taken from GATEHOUSE_TOKEN."`
	TokenFile    string `placeholder:"FILE" help:"The file with the operator token, which only you can read, instead of GATEHOUSE_TOKEN."`
	InsecureHTTP bool   `name:"insecure-http" help:"Send the operator token to --server in clear text."`
}

// printed is for commands that print data.
type printed struct {
	JSON bool `name:"json" help:"Print it for programs, as JSON."`
}
