#version 330 core
// A soft shadow: darkest at the picture's edge, gone at u_reach.

uniform vec4 u_field;      // device pixels
uniform float u_reach;     // device pixels
uniform float u_strength;

in vec2 v_at;

out vec4 out_color;

void main() {
    vec2 outside = max(max(u_field.xy - v_at, v_at - u_field.zw), vec2(0.0));
    float near = max(0.0, 1.0 - length(outside) / u_reach);
    out_color = vec4(0.0, 0.0, 0.0, u_strength * near * near);
}
