package holdfast_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packageVars are package variables that may stay although the rule can't see
// that they never change, as "package path inside the module.name", each with
// its reason.
var packageVars = map[string]string{
	"engineio.strictBase64":     "an encoding, which has no method that changes it",
	"internal/wsclient.buffers": "two sync.Pools",
}

// badNames are package names that say nothing about what is inside.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "misc"}

// sourceFile is one parsed Go file. Its name is relative to the module.
type sourceFile struct {
	name string
	test bool
	tree *ast.File
}

// source is a package and its files.
type source struct {
	pkg   *goPackage
	fset  *token.FileSet
	files []sourceFile
}

// policySource parses the packages below dir.
func policySource(t *testing.T, dir string) (all []*source) {
	t.Helper()
	for _, p := range goPackages(t, dir) {
		s := &source{pkg: p, fset: token.NewFileSet()}
		tests := slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		for _, base := range slices.Concat(p.GoFiles, tests) {
			s.parse(t, filepath.ToSlash(filepath.Join(p.rel(), base)), filepath.Join(p.Dir, base), nil, slices.Contains(tests, base))
		}
		all = append(all, s)
	}
	return all
}

// parse adds a file; text is its content, nil to read it from path.
func (s *source) parse(t *testing.T, name, path string, text any, test bool) {
	t.Helper()
	tree, err := parser.ParseFile(s.fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return
	}
	s.files = append(s.files, sourceFile{name: name, test: test, tree: tree})
}

// at says where a node is.
func (s *source) at(f sourceFile, n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.name, s.fset.Position(n.Pos()).Line)
}

// checkPackage returns the faults of the package as a whole: its doc comment
// and its name. A package that has only tests has its comment in one of them.
func checkPackage(s *source) (faults []string) {
	onlyTests := !slices.ContainsFunc(s.files, func(f sourceFile) bool { return !f.test })
	documented := slices.ContainsFunc(s.files, func(f sourceFile) bool {
		return f.tree.Doc != nil && strings.TrimSpace(f.tree.Doc.Text()) != "" && (onlyTests || !f.test)
	})
	if !documented {
		faults = append(faults, s.pkg.ImportPath+": no package comment")
	}
	for _, name := range []string{s.pkg.Name, filepath.Base(s.pkg.ImportPath)} {
		if slices.Contains(badNames, name) {
			faults = append(faults, fmt.Sprintf("%s: a package named %s says nothing about what is inside", s.pkg.ImportPath, name))
			break
		}
	}
	return faults
}

// checkFuncs returns init functions, and sleeps in tests: those make a test
// slow or flaky, or both. In a file of tests that run in synctest bubbles a
// sleep only moves the fake clock.
func checkFuncs(s *source) (faults []string) {
	for _, f := range s.files {
		clock := importName(f.tree, "time")
		bubble := importName(f.tree, "testing/synctest") != ""
		ast.Inspect(f.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					faults = append(faults, s.at(f, n)+": an init function")
				}
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && f.test && !bubble && pkg.Name == clock && n.Sel.Name == "Sleep" {
					faults = append(faults, s.at(f, n)+": a test sleeps; wait for an event, or for a timer in a synctest bubble")
				}
			}
			return true
		})
	}
	return faults
}

// importName is what a file calls an imported package; "" if it does not.
func importName(f *ast.File, path string) string {
	for _, spec := range f.Imports {
		if strings.Trim(spec.Path.Value, "`\"") != path {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path[strings.LastIndexByte(path, '/')+1:]
	}
	return ""
}

// constantCalls make values that never change, or whose change nobody sees.
var constantCalls = []string{
	"errors.New", "fmt.Errorf", "holdfast.Errorf", "Errorf", "regexp.MustCompile", "strings.NewReplacer",
	"reflect.TypeFor", "reflect.TypeOf", "sync.OnceValue", "sync.OnceValues", "len", "min", "max",
}

// checkVars returns package variables, outside tests, that can change: those
// without a value, those whose value is a pointer, a lock or unknown, those
// that code of the package writes to, and exported ones that another package
// could write to. Constant tables are fine, and so are sync.Pools: nobody can
// tell what is in them.
func checkVars(s *source, allowed map[string]string) (faults []string) {
	var trees []*ast.File
	for _, f := range s.files {
		if !f.test {
			trees = append(trees, f.tree)
		}
	}
	info := &types.Info{Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	_, _ = config.Check(s.pkg.ImportPath, s.fset, trees, info) // its errors are about imports; this package's names are found
	written := writtenVars(trees, info)

	s.eachVar(func(f sourceFile, name *ast.Ident, value ast.Expr) {
		why := mutable(value)
		if _, call := value.(*ast.CallExpr); why == "" && name.IsExported() && !call {
			why = "it is exported, so that any package can write to it"
		}
		if written[info.Defs[name]] {
			why = "it is written to"
		}
		id := s.varID(name)
		_, excused := allowed[id]
		switch {
		case why != "" && !excused:
			faults = append(faults, fmt.Sprintf("%s: package variable %s: %s (or give a reason in packageVars under %q)", s.at(f, name), name.Name, why, id))
		case why == "" && excused:
			faults = append(faults, fmt.Sprintf("%s: package variable %s is fine, take it out of packageVars", s.at(f, name), name.Name))
		}
	})
	return faults
}

// eachVar calls do for each package variable outside tests that is neither _
// nor embedded nor a sync.Pool, with its first value, nil for none.
func (s *source) eachVar(do func(f sourceFile, name *ast.Ident, value ast.Expr)) {
	for _, f := range s.files {
		for _, decl := range f.tree.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR || f.test {
				continue
			}
			for _, spec := range gen.Specs {
				v := spec.(*ast.ValueSpec)
				if v.Type != nil && types.ExprString(v.Type) == "sync.Pool" {
					continue
				}
				for i, name := range v.Names {
					if name.Name == "_" || embedded(gen.Doc) || embedded(v.Doc) {
						continue
					}
					var value ast.Expr
					if len(v.Values) > 0 {
						value = v.Values[min(i, len(v.Values)-1)] // var a, b = f()
					}
					do(f, name, value)
				}
			}
		}
	}
}

// varID is a package variable's key in packageVars.
func (s *source) varID(name *ast.Ident) string {
	return strings.TrimPrefix(s.pkg.rel()+"."+name.Name, ".")
}

// noImports makes the type checker do without other packages.
type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	return nil, errors.New("not looked at")
}

// writtenVars finds objects that something is assigned to, or to a part of
// them, or whose address is taken.
func writtenVars(trees []*ast.File, info *types.Info) map[types.Object]bool {
	written := make(map[types.Object]bool)
	mark := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.ParenExpr:
				e = x.X
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.StarExpr:
				e = x.X
			case *ast.SliceExpr:
				e = x.X
			case *ast.Ident:
				if obj := info.Uses[x]; obj != nil {
					written[obj] = true
				}
				return
			default:
				return
			}
		}
	}
	for _, tree := range trees {
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, e := range n.Lhs {
					mark(e)
				}
			case *ast.IncDecStmt:
				mark(n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					mark(n.Key)
					mark(n.Value)
				}
			case *ast.UnaryExpr:
				if _, literal := n.X.(*ast.CompositeLit); n.Op == token.AND && !literal {
					mark(n.X)
				}
			case *ast.CallExpr:
				if fun, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (fun.Name == "delete" || fun.Name == "clear" || fun.Name == "copy") {
					mark(n.Args[0])
				}
			}
			return true
		})
	}
	return written
}

// mutable says why a variable of this first value is mutable, "" if it is not.
func mutable(value ast.Expr) string {
	switch v := value.(type) {
	case nil:
		return "it has no value, so something must set it"
	case *ast.ParenExpr:
		return mutable(v.X)
	case *ast.UnaryExpr:
		if lit, ok := v.X.(*ast.CompositeLit); ok && strings.HasSuffix(types.ExprString(lit.Type), "Error") {
			return "" // a sentinel, as with errors.New
		}
		if v.Op == token.AND {
			return "it points to something that can change"
		}
	case *ast.CompositeLit:
		typ := types.ExprString(v.Type)
		if strings.HasPrefix(typ, "sync.") && typ != "sync.Pool" || strings.HasPrefix(typ, "atomic.") {
			return typ + " is there to change"
		}
	case *ast.CallExpr:
		switch fun := v.Fun.(type) {
		case *ast.ArrayType: // a conversion
			return ""
		case *ast.FuncLit: // a table that is worked out
			if results := fun.Type.Results; results != nil {
				if array, ok := results.List[0].Type.(*ast.ArrayType); ok && array.Len != nil {
					return ""
				}
			}
			return "what the function returns may change"
		}
		fun, _, _ := strings.Cut(types.ExprString(v.Fun), "[")
		if !slices.Contains(constantCalls, fun) {
			return "what " + fun + " returns may change"
		}
	}
	return ""
}

// embedded reports a //go:embed line.
func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

func TestPolicySource(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range policySource(t, ".") {
		policyReport(t, checkPackage(s))
		policyReport(t, checkFuncs(s))
		policyReport(t, checkVars(s, packageVars))
		s.eachVar(func(_ sourceFile, name *ast.Ident, _ ast.Expr) { seen[s.varID(name)] = true })
	}
	for id := range packageVars {
		if !seen[id] {
			t.Errorf("%s: in packageVars, but not in the tree", id)
		}
	}
}

// planted makes a package of the module from files by name.
func planted(t *testing.T, rel string, files map[string]string) *source {
	t.Helper()
	s := &source{pkg: &goPackage{ImportPath: policyModule + "/" + rel}, fset: token.NewFileSet()}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		s.parse(t, name, name, files[name], strings.HasSuffix(name, "_test.go"))
	}
	s.pkg.Name = s.files[0].tree.Name.Name
	return s
}

func TestPolicyPackageFindsFaults(t *testing.T) {
	for name, c := range map[string]struct {
		rel   string
		files map[string]string
		want  []string
	}{
		"good":              {"hub", map[string]string{"a.go": "// Package hub has a comment.\npackage hub", "b.go": "package hub"}, nil},
		"no comment":        {"hub", map[string]string{"a.go": "package hub"}, []string{"/hub: no package comment"}},
		"only a directive":  {"hub", map[string]string{"a.go": "//go:build linux\npackage hub"}, []string{"no package comment"}},
		"only in a test":    {"hub", map[string]string{"a.go": "package hub", "a_test.go": "// Package hub.\npackage hub"}, []string{"no package comment"}},
		"only tests":        {"hub", map[string]string{"a_test.go": "// Package hub is tested.\npackage hub"}, nil},
		"only tests, mute":  {"hub", map[string]string{"a_test.go": "package hub"}, []string{"no package comment"}},
		"says nothing":      {"hub/util", map[string]string{"a.go": "// Package util.\npackage util"}, []string{"named util"}},
		"a folder does":     {"helpers", map[string]string{"a.go": "// Package x.\npackage x"}, []string{"named helpers"}},
		"the clause does":   {"x", map[string]string{"a.go": "// Package common.\npackage common"}, []string{"named common"}},
		"begins like these": {"utility", map[string]string{"a.go": "// Package utility.\npackage utility"}, nil},
	} {
		policyExpect(t, name, checkPackage(planted(t, c.rel, c.files)), c.want)
	}
}

func TestPolicyFuncsFindsFaults(t *testing.T) {
	const sleep = "Sleep(1)" // apart, so that a search for sleeping tests does not find these
	for name, c := range map[string]struct {
		file, text string
		want       []string
	}{
		"init":              {"a.go", "package a\n\nfunc init() {}", []string{"a.go:3: an init function"}},
		"init in a test":    {"a_test.go", "package a\n\nfunc init() {}", []string{"a_test.go:3: an init function"}},
		"a method":          {"a.go", "package a\n\ntype t int\n\nfunc (t) init() {}\n\nfunc Init() {}", nil},
		"sleep":             {"a_test.go", "package a\n\nimport \"time\"\n\nfunc f() { time." + sleep + " }", []string{"a_test.go:5: a test sleeps"}},
		"sleep, renamed":    {"a_test.go", "package a\n\nimport t \"time\"\n\nfunc f() { t." + sleep + " }", []string{"a test sleeps"}},
		"sleep as a value":  {"a_test.go", "package a\n\nimport \"time\"\n\nvar f = time.Sleep", []string{"a test sleeps"}},
		"sleep, bubble":     {"a_test.go", "package a\n\nimport (\n\"testing/synctest\"\n\"time\"\n)\n\nvar _ = synctest.Wait\n\nfunc f() { time." + sleep + " }", nil},
		"sleep, no test":    {"a.go", "package a\n\nimport \"time\"\n\nfunc f() { time." + sleep + " }", nil},
		"another's sleep":   {"a_test.go", "package a\n\nfunc f(time clock) { time." + sleep + " }", nil},
		"sleep in a string": {"a_test.go", "package a\n\nimport \"time\"\n\nvar s, n = \"time." + sleep + "\", time.Now() // time." + sleep, nil},
	} {
		policyExpect(t, name, checkFuncs(planted(t, "a", map[string]string{c.file: c.text})), c.want)
	}
}

func TestPolicyVarsFindsFaults(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"sentinel":         {`var ErrA, errB = errors.New("a"), errors.New("b")`, nil},
		"coded sentinel":   {`var errA = &holdfast.Error{Code: holdfast.Internal}; var errB = &localError{}`, nil},
		"expression":       {`var re = regexp.MustCompile("a")`, nil},
		"assertion":        {`var _ I = (*T)(nil)`, nil},
		"embedded":         {"//go:embed a\nvar files embed.FS", nil},
		"embedded, group":  {"var (\n//go:embed a\nfiles embed.FS\n)", nil},
		"table":            {`var names = map[string]int{"a": 1}; func f() int { return names["a"] }`, nil},
		"array":            {`var codes = [...]int{1, 2}; func f() { codes := codes; codes[0] = 3 }`, nil},
		"bytes":            {`var prefix = []byte("a")`, nil},
		"pool":             {`var pool = sync.Pool{New: f}`, nil},
		"pool, no value":   {`var pool sync.Pool`, nil},
		"function":         {`var do = func() {}`, nil},
		"worked out":       {`var table = func() (t [256]bool) { t[1] = true; return }()`, nil},
		"map worked out":   {`var table = func() map[int]int { return nil }()`, []string{"what the function returns"}},
		"another's name":   {`var n = 1; func f(n int) { n = 2; n++; _ = &n }`, nil},
		"a test's":         {`const only = "in a.go"`, nil},
		"no value":         {`var cache map[string]int`, []string{"a.go:3: package variable cache: it has no value"}},
		"made":             {`var cache = make(map[string]int)`, []string{"what make returns"}},
		"pointer":          {`var config = &Config{}`, []string{"it points to"}},
		"lock":             {`var mu = sync.Mutex{}`, []string{"sync.Mutex is there"}},
		"counter":          {`var n = atomic.Int64{}`, []string{"atomic.Int64 is there"}},
		"unknown":          {`var c = newCache()`, []string{"what newCache returns"}},
		"two of a call":    {`var a, b = newCache()`, []string{"package variable a", "package variable b"}},
		"map written":      {`var m = map[int]int{}; func f() { m[1] = 2 }`, []string{"it is written to"}},
		"field written":    {`var c = T{}; func f() { c.a.b = 2 }`, []string{"it is written to"}},
		"map deleted from": {`var m = map[int]int{}; func f() { delete(m, 1) }`, []string{"it is written to"}},
		"counted":          {`var n = 0; func f() { n++ }`, []string{"it is written to"}},
		"added to":         {`var l = []int{}; func f() { l = append(l, 1) }`, []string{"it is written to"}},
		"ranged over":      {`var n = 0; func f() { for n = range 3 {} }`, []string{"it is written to"}},
		"address":          {`var n = 0; func f() { g(&n) }`, []string{"it is written to"}},
		"exported":         {`var Names = []string{"a"}`, []string{"it is exported"}},
		"excused":          {`var excused = newCache()`, nil},
		"stale excuse":     {`var excused = 1`, []string{"excused is fine, take it out"}},
	} {
		s := planted(t, "a", map[string]string{"a.go": "package a\n\n" + c.text, "a_test.go": "package a\n\nvar state int"})
		policyExpect(t, name, checkVars(s, map[string]string{"a.excused": "planted"}), c.want)
	}
}

// A whole module with faults, read as the real one is.
func TestPolicySourceOfATree(t *testing.T) {
	dir := t.TempDir()
	policyWrite(t, dir, map[string]string{
		"go.mod":         "module " + policyModule + "\n\ngo 1.26.0\n",
		"a.go":           "// Package holdfast is fine.\npackage holdfast\n",
		"hub/hub.go":     "package hub\n\nvar state int\n\nfunc init() { state = 1 }\n",
		"hub/in_test.go": "package hub\n\nimport \"time\"\n\nfunc f() { time." + "Sleep(1) }\n",
		"hub/x_test.go":  "package hub_test\n\nimport \"time\"\n\nfunc f() { time." + "Sleep(1) }\n",
	})
	var faults []string
	for _, s := range policySource(t, dir) {
		faults = slices.Concat(faults, checkPackage(s), checkFuncs(s), checkVars(s, nil))
	}
	policyExpect(t, "tree", faults, []string{
		"/hub: no package comment", "hub/hub.go:5: an init", "hub/in_test.go:5: a test", "hub/x_test.go:5: a test", "hub/hub.go:3: package variable state",
	})
}
