use serde_json::json;

use super::*;

fn render(template: &str, data: &Value) -> String {
    match Template::parse(template).and_then(|parsed| parsed.render(data)) {
        Ok(text) => text,
        Err(error) => format!("error: {error}"),
    }
}

fn image() -> Value {
    json!({
        "Id": "sha256:abc",
        "RepoTags": ["alpine:3.20", "alpine:latest"],
        "Size": 7_800_000,
        "Config": {"Labels": {"b": "2", "a": "1"}, "Cmd": null, "Env": ["A=1"]},
    })
}

#[test]
fn fields_print_as_go_prints_them() {
    let data = image();
    assert_eq!(render("{{.Id}}\\t{{.Size}}", &data), "sha256:abc\t7800000");
    assert_eq!(render("{{.ID}}", &data), "sha256:abc");
    assert_eq!(
        render("{{.RepoTags}} {{ .Config.Labels }}", &data),
        "[alpine:3.20 alpine:latest] map[a:1 b:2]"
    );
    assert_eq!(render("{{.Config.Labels.c}}/{{.Config.Labels.Env}}", &data), "<no value>/<no value>");
    // Lists and maps, as docker's types have them.
    assert_eq!(render("{{.Config.Cmd}} {{with .Config}}{{.Volumes}}{{end}}", &data), "[] map[]");
    let ports = json!({"Config": {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Labels": {}}});
    assert_eq!(
        render("{{.Config.ExposedPorts}} {{.Config.Labels}}", &ports),
        "map[53/udp:{} 80/tcp:{}] map[]"
    );
    assert_eq!(render("{{json .Config}}", &data), r#"{"Labels":{"b":"2","a":"1"},"Cmd":null,"Env":["A=1"]}"#);
}

#[test]
fn dockers_functions_work_on_text_and_lists() {
    let data = image();
    assert_eq!(render(r#"{{join .RepoTags ", "}}"#, &data), "alpine:3.20, alpine:latest");
    assert_eq!(render(r#"{{index (split .Id ":") 1 | upper | lower | title}}"#, &data), "Abc");
    assert_eq!(render(r#"[{{pad .Id 1 2}}] {{truncate .Id 3}}"#, &data), "[ sha256:abc  ] sha");
    assert_eq!(render(r#"{{index .Config.Labels "a"}} {{len .RepoTags}} {{slice .Id 7}}"#, &data), "1 2 abc");
    assert_eq!(render(r#"{{printf "%-4s|%3d|%q" "ab" 7 "x"}}"#, &data), r#"ab  |  7|"x""#);
}

#[test]
fn control_flow_is_gos() {
    let data = image();
    let listed = r#"{{range $i, $tag := .RepoTags}}{{if $i}}, {{end}}{{$tag}}{{end}}"#;
    assert_eq!(render(listed, &data), "alpine:3.20, alpine:latest");
    assert_eq!(render("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", &data), "a=1;b=2;");
    assert_eq!(render("{{range .Config.Cmd}}x{{else}}none{{end}}", &data), "none");
    assert_eq!(render("{{with .Config}}{{.Env}}{{$.Id}}{{end}}", &data), "[A=1]sha256:abc");
    let ladder = r#"{{if eq .Id "x"}}1{{else if gt .Size 5}}2{{else}}3{{end}}"#;
    assert_eq!(render(ladder, &data), "2");
    assert_eq!(render(r#"{{$n := ""}}{{range .RepoTags}}{{$n = .}}{{end}}{{$n}}"#, &data), "alpine:latest");
    assert_eq!(render("a {{- .Size -}} b{{/* note */}}", &data), "a7800000b");
    assert_eq!(render(r#"{{if and .Id (not .Config.Cmd)}}{{"}}"}}{{end}}"#, &data), "}}");
}

#[test]
fn mistakes_are_told() {
    let data = image();
    assert_eq!(
        render("{{.Nope}}", &data),
        "error: template: no field \"Nope\"; there are Id RepoTags Size Config"
    );
    assert_eq!(render("{{.Id", &data), "error: template \"{{.Id\": unclosed action");
    assert_eq!(render("{{nope .Id}}", &data), "error: template: function \"nope\" not defined");
    assert_eq!(
        render("{{if .Id}}", &data),
        "error: template \"{{if .Id}}\": unexpected end of the template: {{end}} is missing"
    );
    assert!(render(&"{{if 1}}".repeat(5000), &data).contains("nested deeper than 100"));
    assert!(render(&format!("{{{{{}1", "(".repeat(5000)), &data).starts_with("error: "));
    assert!(render(&format!("{{{{{}1}}}}", "(".repeat(5000)), &data).contains("nested deeper"));
    assert!(render(&format!("{{{{if 0}}}}{}", "{{else if 0}}".repeat(5000)), &data).contains("100"));
}

proptest::proptest! {
    #[test]
    fn no_template_panics(text in "[{}.$|()\"a-c 0-9:=,ifendrangewithelse-]{0,60}") {
        render(&text, &image());
        render(&format!("{{{{{text}}}}}"), &image());
    }
}
