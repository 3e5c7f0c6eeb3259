package main

import "time"

// serveFlags are the flags of "serve"; "config check" takes the same.
type serveFlags struct {
	Addr      string `default:"127.0.0.1:8080" placeholder:"HOST:PORT" group:"listen" help:"Listen here (default 127.0.0.1:8080). Port 0 takes any that is free."`
	AdminAddr string `placeholder:"HOST:PORT" group:"listen" help:"Serve /healthz, /readyz, /metrics and profiles here (default 127.0.0.1:9090, or nowhere if that is taken; \"off\" for nowhere)."`
	TLSCert   string `name:"tls-cert" placeholder:"FILE" group:"listen" help:"Serve https with this certificate chain, PEM."`
	TLSKey    string `name:"tls-key" placeholder:"FILE" group:"listen" help:"The certificate's private key, PEM."`

	Dev bool `group:"keys" help:"For trying things out: without another key, make a secret in --data; without --default-rooms, let everybody into every room; with accounts that everybody can make."`
	keyFlags
	verifyFlags
	elsewhereFlags
	accountFlags
	webhookFlags

	APIKey          []string `name:"api-key" secret:"" placeholder:"KEY|@FILE" group:"access" help:"A key with which backends publish over HTTP, at least 16 characters; @FILE reads it. Repeatable."`
	AllowQueryToken bool     `group:"access" help:"Take tokens from ?token= as well. Addresses end up in logs."`

	PublicURL     string   `name:"public-url" placeholder:"URL" group:"web" help:"The address that browsers know the server by; settles what their own origin is."`
	AllowedOrigin []string `placeholder:"ORIGIN" group:"web" help:"Another origin whose pages may connect, such as https://app.example.com; * for all. Repeatable."`
	TrustedProxy  []string `placeholder:"CIDR" group:"web" help:"Believe X-Forwarded-* headers from these addresses. Repeatable."`

	DrainTimeout time.Duration `default:"10s" placeholder:"TIME" group:"timing" help:"How long clients and handlers have to finish at the end (default 10s)."`
	PingInterval time.Duration `default:"25s" placeholder:"TIME" group:"timing" help:"Time between heartbeats (default 25s)."`
	PingTimeout  time.Duration `default:"20s" placeholder:"TIME" group:"timing" help:"How long a client may take to answer one (default 20s)."`
	MaxPayload   int           `default:"1000000" placeholder:"BYTES" group:"timing" help:"Largest message that is taken (default 1000000)."`
	MessageRate  float64       `default:"100" placeholder:"N" group:"timing" help:"Messages a second that one connection may send, and twice as many at once (default 100); 0 for no limit."`

	AdmissionRate        float64 `default:"5000" placeholder:"N" group:"timing" help:"New connections a second from everywhere, and twice as many at once (default 5000); 0 for no limit. Others are told when to come back."`
	AddressAdmissionRate float64 `default:"200" placeholder:"N" group:"timing" help:"New connections a second from one address, and five times as many at once (default 200); 0 for no limit."`

	Compression bool `group:"timing" help:"Accept permessage-deflate on WebSockets: less traffic for more processor time."`

	Echo bool `group:"timing" help:"Answer the event \"echo\" with its data, for \"holdfast bench\" and for trying things out."`

	watchFlags

	LogFormat string `default:"text" enum:"text,json" placeholder:"FORMAT" group:"log" help:"Format of the log: text or json (default text)."`
	LogLevel  string `default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL" group:"log" help:"What is logged: debug, info, warn or error (default info)."`
}

// keyFlags say where the secret is, and what tokens are made for.
type keyFlags struct {
	JWTSecretFile string   `name:"jwt-secret-file" placeholder:"FILE" group:"keys" help:"Tokens are signed (HS256, HS384, HS512) with the secret in this file."`
	JWTSecret     string   `name:"jwt-secret" secret:"" placeholder:"SECRET" group:"keys" help:"The secret itself, at least 32 bytes. Better as a file or a variable: command lines can be seen by others."`
	Issuer        string   `placeholder:"ISS" group:"keys" help:"The iss that tokens have."`
	Audience      []string `placeholder:"AUD" group:"keys" help:"An aud that tokens have. Repeatable: one of them is enough."`
	dataFlags
}

// dataFlags say where the server keeps things.
type dataFlags struct {
	Data string `default:"holdfast-data" placeholder:"DIR" group:"keys" help:"Folder for what the server keeps (default ./holdfast-data): accounts, and the secret that --dev makes."`
}

// databaseFlags say where accounts are kept.
type databaseFlags struct {
	Database string `secret:"" placeholder:"URL" group:"accounts" help:"Keep accounts in this PostgreSQL database, postgres://…, instead of a file in --data. Better as a variable if there is a password in it."`
}

// accountFlags are about the accounts of "serve".
type accountFlags struct {
	Accounts bool `negatable:"" group:"accounts" help:"Keep accounts: sign-up and sign-in, sessions, API keys. On with --dev."`
	databaseFlags
	SignUp                string        `name:"sign-up" enum:"open,invite,closed," default:"" placeholder:"WHO" group:"accounts" help:"Who may make an account: open, invite or closed (default closed; open with --dev)."`
	AccessTokenLifetime   time.Duration `default:"15m" placeholder:"TIME" group:"accounts" help:"How long the tokens of accounts, and those made of sessions, are good (default 15m)."`
	MailWebhook           string        `placeholder:"URL" group:"accounts" help:"Post mails to be sent here: resets of passwords, verifications, invitations. Without it none are sent; --dev logs them."`
	MailWebhookSecretFile string        `placeholder:"FILE" group:"accounts" help:"The secret in this file signs what is posted there; at least 32 bytes."`
}

// verifyFlags say what else makes a token good.
type verifyFlags struct {
	JWKSURL      string   `name:"jwks-url" placeholder:"URL" group:"keys" help:"Tokens are signed with the keys at this address."`
	UserClaim    string   `default:"sub" placeholder:"CLAIM" group:"keys" help:"The claim that holds the user's id (default sub)."`
	DefaultRooms []string `placeholder:"PATTERN" group:"access" help:"Rooms for tokens that name none, comma-separated: ** for all, '!**' for none. Required without --dev."`
}
